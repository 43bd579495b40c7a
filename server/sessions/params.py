"""What a client may choose for its session, checked, and what a checkpoint recommends where it does not.

Names are those that existing clients send as query parameters.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.audio.framing import FRAME_S
from server.errors import BadParameter


class SessionParams(BaseModel):
    """A client's choices. Defaults are the reference's."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    text_temperature: float = Field(default=0.7, ge=0, le=2)
    text_topk: int = Field(default=25, ge=0, le=500)  # 0: all
    audio_temperature: float = Field(default=0.8, ge=0, le=2)
    audio_topk: int = Field(default=250, ge=0, le=500)
    text_seed: int = Field(default=0, ge=0, lt=2**63)
    audio_seed: int = Field(default=0, ge=0, lt=2**63)
    pad_mult: float = Field(default=0.0, ge=-4, le=4)
    repetition_penalty: float = Field(default=1.0, ge=1, le=2)
    repetition_penalty_context: int = Field(default=64, ge=0, le=200)
    max_steps: int | None = Field(default=None, ge=1)
    record: bool = False  # the client agrees to a recording

    @classmethod
    def from_query(cls, query: Mapping[str, str | float]) -> SessionParams:
        """Read a URL's query. `seed` sets both seeds; -1, or no seed, draws one at random. Raises BadParameter."""
        seed = query.get("seed", "-1")
        if seed == "-1":
            seed = str(secrets.randbelow(2**32))
        try:
            # Checked under its own name, so that the sentence names what the client wrote.
            cls.model_validate({"text_seed": seed})
        except ValidationError as error:
            raise BadParameter(_sentence(error, name="seed")) from None
        try:
            return cls.model_validate({"text_seed": seed, "audio_seed": seed, **query})
        except ValidationError as error:
            raise BadParameter(_sentence(error)) from None

    @classmethod
    def recommended(cls, defaults: Mapping[str, object]) -> dict[str, float]:
        """A checkpoint's sampling defaults, checked. Raises BadParameter."""
        try:
            checked = cls.model_validate(defaults)
        except ValidationError as error:
            raise BadParameter(_sentence(error)) from None
        return {name: getattr(checked, name) for name in defaults}

    def at_most(self, seconds: float | None) -> SessionParams:
        """The same choices, for a session that lasts no longer than `seconds`; None: no further limit."""
        frames = None if seconds is None else max(1, round(seconds / FRAME_S))
        least = min((count for count in (self.max_steps, frames) if count is not None), default=None)
        return self.model_copy(update={"max_steps": least})


def _sentence(error: ValidationError, name: str | None = None) -> str:
    """The first problem, as a sentence that names the parameter."""
    first = error.errors(include_url=False, include_input=False)[0]
    parameter, message = name or first["loc"][0], first["msg"]
    if message.startswith("Input should"):
        return f"{parameter} {message.removeprefix('Input ')}."
    return f"{parameter} is not valid: {message}."
