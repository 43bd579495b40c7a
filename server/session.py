"""One conversation: its parameters, its states and its two bounded queues."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class SessionParams(BaseModel):
    """A caller's choices, checked. Names are those that existing clients send as query parameters."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    text_temperature: float = Field(0.7, ge=0, le=2)
    text_topk: int = Field(25, ge=0, le=500)  # 0: all
    audio_temperature: float = Field(0.8, ge=0, le=2)
    audio_topk: int = Field(250, ge=0, le=500)
    text_seed: int = Field(0, ge=0, lt=2**63)
    audio_seed: int = Field(0, ge=0, lt=2**63)
    pad_mult: float = Field(0.0, ge=-4, le=4)
    repetition_penalty: float = Field(1.0, ge=1, le=2)
    repetition_penalty_context: int = Field(64, ge=0, le=200)
    max_steps: int | None = Field(None, ge=1)
