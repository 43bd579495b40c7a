"""What an operator can choose: one frozen `Settings`, from flags, from `PARLEY_*` in the environment, and from
containers' secrets, a file for each, as in /run/secrets/parley_token.

Each field's description is its line of `parley serve --help`. Built once, in `cli.py`, and passed as an
argument.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

SLOTS_WITHOUT_GPU = 8
Slots: TypeAlias = Annotated[int, Field(ge=1, le=1024)]
Quantization: TypeAlias = Literal["none", "int8"]
KvCacheDtype: TypeAlias = Literal["auto", "int8"]
_split = BeforeValidator(lambda value: tuple(re.findall(r"[^,\s]+", value)) if isinstance(value, str) else value)
Several: TypeAlias = Annotated[tuple[str, ...], NoDecode, _split]  # separated by commas
LEAST_TOKEN_CHARS = 16
LEAST_KEY_CHARS = 32  # RFC 7518 §3.2, for HS256
_SECRETS = "/run/secrets"


class Settings(BaseSettings):
    """The operator's choices."""

    model_config = SettingsConfigDict(
        env_prefix="PARLEY_",
        secrets_dir=_SECRETS if os.access(_SECRETS, os.X_OK) else None,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
    )

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
    quantization: Quantization = Field(
        default="none", description="hold the language model's linear weights in int8; none: as --dtype says"
    )
    kv_cache_dtype: KvCacheDtype = Field(
        default="auto", description="hold each call's keys and values in int8; auto: as --dtype says"
    )
    max_waiting: int = Field(default=32, ge=0, description="callers in line for a slot, of those that ask to wait")
    max_call_s: float | None = Field(
        default=None, gt=0, le=1e9, description="longest call, in seconds; no limit by default"
    )
    first_audio_s: float = Field(default=30, gt=0, description="seconds a caller has to begin sending audio")
    quiet_s: float = Field(default=120, gt=0, description="seconds without any audio after which a call ends")
    log_format: Literal["text", "json"] = Field(default="text", description="what a line of the log is")
    stalled_s: float = Field(default=10, gt=0, description="seconds a caller may take nothing of what is sent")
    # What is kept of calls on disk, of callers who agree.
    record: Path | None = Field(default=None, description="directory for recordings of callers who ask for it")
    record_gb: float = Field(default=10, gt=0, description="how large all recordings may be; past it none goes on")
    record_days: float = Field(default=30, gt=0, description="days after which a recording is deleted")
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
        description="what resume tokens begin with, so that a balancer sends their callers to this server",
    )

    # Who gets in (server/doors)
    token: SecretStr | None = Field(
        default=None, description="what callers must show; made and printed when it is needed and not given"
    )
    public: bool = Field(
        default=False, description="anybody may call, without a token; one that is given is for /metrics"
    )
    call_token_key: SecretStr | None = Field(
        default=None, description="key with which a site's back end signs short-lived tokens for its visitors"
    )
    allowed_host: Several = Field(
        default=(), description="more names by which this server is reached, e.g. behind a proxy; * for any part"
    )
    allowed_origin: Several = Field(
        default=(), description="sites whose pages may call too, e.g. https://example.com; * for any"
    )
    trusted_proxy: Several = Field(
        default=("127.0.0.1", "::1"), description="addresses or networks of proxies whose X-Forwarded-* are believed"
    )
    tls: Literal["off", "self"] = Field(default="off", description="self: https with a certificate made here")
    tls_cert: Path | None = Field(default=None, description="https with this certificate (PEM, with its chain)")
    tls_key: Path | None = Field(default=None, description="and this key")
    max_calls_per_caller: int = Field(
        default=4, ge=1, description="calls at once from one address, or of one sub of call tokens; not on localhost"
    )
    max_sockets: int = Field(default=4096, ge=16, description="connections at once, of any kind")
    max_sockets_per_address: int = Field(default=256, ge=1, description="of these from one address; not on localhost")
    max_bytes_per_s: int = Field(
        default=128_000, ge=1000, description="what one call may send for long; Opus needs 3,000 to 16,000"
    )

    @field_validator("*", mode="before")
    @classmethod
    def _is_something(cls, value: object, info: ValidationInfo) -> object:
        """An empty one is a mistake: taken at its word, PARLEY_RECORD= would be the directory that we are in."""
        if value == "" and cls.model_fields[info.field_name or ""].default != "":
            raise ValueError("should not be empty: give it a value, or leave it out")
        return value

    @field_validator("server_id")
    @classmethod
    def _id_is_short(cls, server_id: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_-]{0,39}", server_id):  # an IPv6 address, as the cluster's DNS writes it
            raise ValueError(f"should be up to 39 letters, digits and any of _ -; not {server_id}")
        return server_id

    @field_validator("token")
    @classmethod
    def _token_travels(cls, token: SecretStr | None) -> SecretStr | None:
        if token and not re.fullmatch(rf"[A-Za-z0-9._~-]{{{LEAST_TOKEN_CHARS},}}", token.get_secret_value()):
            raise ValueError(f"should be {LEAST_TOKEN_CHARS} or more letters, digits and any of . _ ~ -")
        return token

    @field_validator("call_token_key")
    @classmethod
    def _key_is_long(cls, key: SecretStr | None) -> SecretStr | None:
        if key and len(key.get_secret_value()) < LEAST_KEY_CHARS:
            raise ValueError(f"should be {LEAST_KEY_CHARS} or more characters")
        return key

    @field_validator("allowed_host")
    @classmethod
    def _hosts_are_names(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not re.fullmatch(r"[\w.*?-]+", host) and not _is_address(host):
                raise ValueError(f"should be names such as talk.example.com, without https:// or a port; not {host}")
        return hosts

    @field_validator("allowed_origin")
    @classmethod
    def _origins_are_such(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [o for o in origins if o != "*" and not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+", o)]:
            raise ValueError(f"should be sites such as https://example.com, without a path; not {wrong[0]}")
        return origins

    @field_validator("trusted_proxy")
    @classmethod
    def _proxies_are_addresses(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError:
                raise ValueError(f"should be addresses or networks such as 10.0.0.0/8; not {proxy}") from None
        return proxies

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.public and self.call_token_key:
            raise ValueError("With --public anybody may call, so leave --call-token-key out, or --public.")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("A certificate comes with its key: give both --tls-cert and --tls-key.")
        if self.tls == "self" and self.tls_cert:
            raise ValueError("--tls self makes a certificate of its own: leave it out, or --tls-cert and --tls-key.")
        return self


def misspelt(environment: Mapping[str, str]) -> list[str]:
    """A sentence for each variable that looks like one of ours, and chooses nothing."""
    ours = [f"PARLEY_{name.upper()}" for name in Settings.model_fields]
    strange = sorted(name for name in environment if name.startswith("PARLEY_") and name not in ours)
    pairs = [(name, difflib.get_close_matches(name, ours, n=1, cutoff=0.8)) for name in strange]
    return [f"{name} is no setting and chooses nothing. Is {found[0]} meant?" for name, found in pairs if found]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
