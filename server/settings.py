"""What an operator can choose: one frozen `Settings`, from flags, from `PARLEY_*` in the environment, and from
containers' secrets, a file for each, as in /run/secrets/parley_token.

Each field's description is its line of `parley serve --help`, below its group's title. Built once, in
`commands/serve.py`, and passed as an argument.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from server.addresses import is_ip_address

SLOTS_WITHOUT_GPU = 8
SlotCount: TypeAlias = Annotated[int, Field(ge=1, le=1024)]
Quantization: TypeAlias = Literal["none", "int8"]
KvCacheDtype: TypeAlias = Literal["auto", "int8"]
_split = BeforeValidator(lambda value: tuple(re.findall(r"[^,\s]+", value)) if isinstance(value, str) else value)
Several: TypeAlias = Annotated[tuple[str, ...], NoDecode, _split]  # separated by commas
MIN_TOKEN_CHARS = 16
MIN_KEY_CHARS = 32  # RFC 7518 §3.2, for HS256
_SECRETS = "/run/secrets"

_SERVER, _MODEL, _CALLS = "server", "model", "calls"
_ACCESS, _LIMITS, _RECORDING = "access", "limits", "recording"


def _setting(group: str, placeholder: str, description: str, **field: Any) -> Any:
    """A field, with what `--help` says of it: under which title, and what stands for its value."""
    extra: dict[str, Any] = {"group": group, "placeholder": placeholder}
    return Field(description=description, json_schema_extra=extra, **field)


class Settings(BaseSettings):
    """The operator's choices."""

    model_config = SettingsConfigDict(
        env_prefix="PARLEY_",
        secrets_dir=_SECRETS if os.access(_SECRETS, os.X_OK) else None,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
    )

    host: str = _setting(_SERVER, "ADDRESS", "address to listen on; 0.0.0.0 for all", default="127.0.0.1")
    port: int = _setting(_SERVER, "N", "port to listen on; 0 for any free one", default=8998, ge=0, le=65535)
    tls: Literal["off", "self"] = _setting(
        _SERVER, "", "self: serve https with a self-signed certificate", default="off"
    )
    tls_cert: Path | None = _setting(
        _SERVER, "PATH", "serve https with this certificate (PEM, with its chain)", default=None
    )
    tls_key: Path | None = _setting(_SERVER, "PATH", "private key of --tls-cert (PEM, no password)", default=None)
    log_format: Literal["text", "json"] = _setting(_SERVER, "", "format of log lines", default="text")
    drain_s: float = _setting(
        _SERVER, "SECONDS", "how long calls may go on after the server is told to stop", default=3, ge=0, le=86_400
    )
    server_id: str = _setting(
        _SERVER,
        "ID",
        "prefix of resume tokens, by which a load balancer routes a client back to this server",
        default="",
    )

    model: str = _setting(
        _MODEL,
        "NAME",
        "checkpoint directory, Hugging Face repo id, demo, or echo (the caller's own voice)",
        default="demo",
    )
    slots: Literal["auto"] | SlotCount = _setting(
        _MODEL, "N", f"calls at once; auto: as many as fit a GPU, {SLOTS_WITHOUT_GPU} without one", default="auto"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = _setting(_MODEL, "", "device to run the model on", default="auto")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = _setting(
        _MODEL, "", "data type to compute in; auto: bfloat16 on a GPU, float32 on a CPU", default="auto"
    )
    quantization: Quantization = _setting(_MODEL, "", "quantization of the weights", default="none")
    kv_cache_dtype: KvCacheDtype = _setting(
        _MODEL, "", "data type of each call's keys and values; auto: that of --dtype", default="auto"
    )

    max_waiting: int = _setting(_CALLS, "N", "clients in the queue for a slot", default=32, ge=0)
    refuse_when_full: bool = _setting(
        _CALLS,
        "",
        "answer 503, for a load balancer to try another server, where clients that know no queue would be held",
        default=False,
    )
    max_call_s: float | None = _setting(_CALLS, "SECONDS", "maximum length of a call", default=None, gt=0, le=1e9)
    first_audio_s: float = _setting(
        _CALLS, "SECONDS", "end a call whose client sends no audio for SECONDS after its call starts", default=30, gt=0
    )
    quiet_s: float = _setting(
        _CALLS, "SECONDS", "end a call whose client sends no audio for SECONDS", default=120, gt=0
    )
    stalled_s: float = _setting(
        _CALLS, "SECONDS", "disconnect a client that reads nothing for SECONDS", default=10, gt=0
    )
    resume_s: float = _setting(
        _CALLS,
        "SECONDS",
        "keep a call for a client that lost its connection, for SECONDS and a tenth of its length in all; 0: do not",
        default=20,
        ge=0,
        le=3600,
    )

    token: SecretStr | None = _setting(
        _ACCESS,
        "TOKEN",
        "token that clients must show; by default one is generated if needed",
        default=None,
    )
    public: bool = _setting(
        _ACCESS, "", "let anybody call without a token; --token then protects /metrics only", default=False
    )
    call_token_key: SecretStr | None = _setting(
        _ACCESS, "KEY", "key with which a site's back end signs short-lived call tokens", default=None
    )
    allowed_host: Several = _setting(
        _ACCESS,
        "NAME",
        "accept this Host header too, e.g. behind a proxy; * matches any part; may be repeated",
        default=(),
    )
    allowed_origin: Several = _setting(
        _ACCESS,
        "URL",
        "let pages of this site call too, e.g. https://example.com; * for any; may be repeated",
        default=(),
    )
    trusted_proxy: Several = _setting(
        _ACCESS,
        "ADDRESS",
        "trust X-Forwarded-* from this address or network; may be repeated",
        default=("127.0.0.1", "::1"),
    )

    max_calls_per_caller: int = _setting(
        _LIMITS,
        "N",
        "calls at once, parked ones too, of one address, IPv6 /64 or sub of call tokens; localhost is exempt",
        default=4,
        ge=1,
    )
    max_sockets: int = _setting(_LIMITS, "N", "open connections of any kind", default=4096, ge=16)
    max_sockets_per_address: int = _setting(
        _LIMITS, "N", "open connections from one address; localhost is exempt", default=256, ge=1
    )
    max_bytes_per_s: int = _setting(
        _LIMITS,
        "N",
        "bytes per second that a call may send over time; Opus needs 3,000 to 16,000",
        default=128_000,
        ge=1000,
    )

    record: Path | None = _setting(
        _RECORDING, "PATH", "directory to record calls into, of clients that ask for it", default=None
    )
    record_gb: float = _setting(
        _RECORDING,
        "GB",
        "size limit of all recordings; at it, at 20,000 recordings or at 80 at once, no other begins",
        default=10,
        gt=0,
    )
    record_days: float = _setting(_RECORDING, "DAYS", "age at which recordings are deleted", default=30, gt=0)

    @field_validator("*", mode="before")
    @classmethod
    def _reject_empty(cls, value: object, info: ValidationInfo) -> object:
        """An empty value is a mistake: taken literally, PARLEY_RECORD= would record into the current directory."""
        if value == "" and cls.model_fields[info.field_name or ""].default != "":
            raise ValueError("must not be empty: give it a value, or leave it out")
        return value

    @field_validator("server_id")
    @classmethod
    def _validate_server_id(cls, server_id: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_-]{0,39}", server_id):  # 39: an IPv6 address, as a cluster's DNS writes it
            raise ValueError(f"must be up to 39 letters, digits, _ and -; got {server_id}")
        return server_id

    @field_validator("token")
    @classmethod
    def _validate_token(cls, token: SecretStr | None) -> SecretStr | None:
        if token and not re.fullmatch(rf"[A-Za-z0-9._~-]{{{MIN_TOKEN_CHARS},}}", token.get_secret_value()):
            raise ValueError(f"must be {MIN_TOKEN_CHARS} or more letters, digits and any of . _ ~ -")
        return token

    @field_validator("call_token_key")
    @classmethod
    def _validate_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key and len(key.get_secret_value()) < MIN_KEY_CHARS:
            raise ValueError(f"must be {MIN_KEY_CHARS} or more characters")
        return key

    @field_validator("allowed_host")
    @classmethod
    def _validate_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not re.fullmatch(r"[\w.*?-]+", host) and not is_ip_address(host):
                raise ValueError(f"must be names such as talk.example.com, without https:// or a port; got {host}")
        return hosts

    @field_validator("allowed_origin")
    @classmethod
    def _validate_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [o for o in origins if o != "*" and not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+", o)]:
            raise ValueError(f"must be sites such as https://example.com, without a path; got {wrong[0]}")
        return origins

    @field_validator("trusted_proxy")
    @classmethod
    def _validate_proxies(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError:
                raise ValueError(f"must be addresses or networks such as 10.0.0.0/8; got {proxy}") from None
        return proxies

    @model_validator(mode="after")
    def _validate_combination(self) -> Self:
        if self.public and self.call_token_key:
            raise ValueError("--public and --call-token-key exclude each other: leave one of them out.")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("--tls-cert and --tls-key belong together: give both.")
        if self.tls == "self" and self.tls_cert:
            raise ValueError("--tls self makes its own certificate: leave out --tls self, or --tls-cert and --tls-key.")
        return self


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """A sentence for each environment variable that looks like a misspelt setting."""
    ours = [f"PARLEY_{name.upper()}" for name in Settings.model_fields]
    unknown = sorted(name for name in environment if name.startswith("PARLEY_") and name not in ours)
    pairs = [(name, difflib.get_close_matches(name, ours, n=1, cutoff=0.8)) for name in unknown]
    return [f"Unknown environment variable {name} ignored. Did you mean {found[0]}?" for name, found in pairs if found]
