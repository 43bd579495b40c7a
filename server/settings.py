"""What an operator can choose: one frozen `Settings`, from `PARLEY_*` in the environment and from flags.

Each field's description is its line of `parley serve --help`. Built once, in `cli.py`, and passed as an
argument.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

SLOTS_WITHOUT_GPU = 8
Slots: TypeAlias = Annotated[int, Field(ge=1, le=1024)]
Precision: TypeAlias = Literal["bf16", "8bit"]


class Settings(BaseSettings):
    """The operator's choices."""

    model_config = SettingsConfigDict(env_prefix="PARLEY_", frozen=True, extra="forbid", allow_inf_nan=False)

    host: str = Field(default="127.0.0.1", description="address to listen on; 0.0.0.0 for every one")
    port: int = Field(default=8998, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    model: str = Field(
        default="demo",
        description="checkpoint directory, Hugging Face repo id, demo, or echo (the caller's own voice)",
    )
    slots: Literal["auto"] | Slots = Field(
        default="auto", description=f"calls at once; auto: as many as a GPU holds, {SLOTS_WITHOUT_GPU} without one"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="where the model runs")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(default="auto", description="the model's numbers")
    weights: Precision = Field(default="bf16", description="what weights are held in; bf16 means as --dtype says")
    kv: Precision = Field(default="bf16", description="what each call's keys and values are held in; the same")
    max_waiting: int = Field(default=32, ge=0, description="callers in line for a slot, of those that ask to wait")
    max_call_s: float | None = Field(
        default=None, gt=0, le=1e9, description="longest call, in seconds; no limit by default"
    )
    first_audio_s: float = Field(default=30, gt=0, description="seconds a caller has to begin sending audio")
    quiet_s: float = Field(default=120, gt=0, description="seconds without any audio after which a call ends")
    log_format: Literal["text", "json"] = Field(default="text", description="what a line of the log is")
    stalled_s: float = Field(default=10, gt=0, description="seconds a caller may take nothing of what is sent")
    # What becomes of calls whose socket is lost, and of all of them at the end.
    resume_s: float = Field(
        default=20,
        ge=0,
        le=3600,
        description="seconds for which a caller who lost the connection may come back; 0: none",
    )
    drain_s: float = Field(
        default=3, ge=0, le=86_400, description="seconds that calls may go on for when the server is told to stop"
    )
    server_id: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_-]{0,32}$",
        description="what resume tokens begin with, so that a balancer sends their callers to this server",
    )
