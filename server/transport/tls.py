"""TLS, with the operator's certificate or a generated one, kept so that a browser's exception for it remains valid."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import ssl
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from server.settings import Settings
from server.transport.banner import outbound_address

_VALID_DAYS = 397  # the most that browsers accept
_RENEW_AFTER_S = 360 * 86_400.0
_LABEL = re.compile(r"(?!-|..--)[A-Za-z0-9-]{1,63}(?<!-)")  # RFC 5891 §4.2.3.1


class TlsUnavailable(Exception):
    """https cannot be served. The message tells the operator why."""


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """The TLS context for `settings`; None for http. Raises TlsUnavailable."""
    if settings.tls == "self":
        certificate = key = _generated_certificate(settings)
    elif settings.tls_cert and settings.tls_key:
        certificate, key = settings.tls_cert, settings.tls_key
    else:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        for path in (certificate, key):
            path.open("rb").close()
        context.load_cert_chain(certificate, key, password="")  # OpenSSL would ask for one on the terminal
    except ssl.SSLError as error:
        raise TlsUnavailable(
            f"{certificate} and {key} must be a certificate and its key, in PEM without a password ({error.reason})."
        ) from error
    except (OSError, ValueError) as error:
        raise TlsUnavailable(f"cannot read {getattr(error, 'filename', None) or key}: {error}.") from error
    return context


def _generated_certificate(settings: Settings) -> Path:
    """The file with a certificate for this machine's names and its key; generated if it is missing or old."""
    hosts = {settings.host, socket.gethostname(), *settings.allowed_host} - {"0.0.0.0", "::"}
    names = {"localhost", "127.0.0.1", "::1", outbound_address() or "localhost", *filter(_is_certifiable, hosts)}
    names = sorted(names)
    directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "parley"
    path = directory / f"tls-{hashlib.sha256(' '.join(names).encode()).hexdigest()[:16]}.pem"
    try:
        if not path.exists() or path.stat().st_mtime + _RENEW_AFTER_S < time.time():  # noqa: TID251, a date is meant
            directory.mkdir(parents=True, exist_ok=True)
            _write_private(path, _generate(names))
    except OSError as error:
        raise TlsUnavailable(
            f"cannot write a certificate to {directory}: {error.strerror}. Set XDG_CACHE_HOME to a writable directory."
        ) from error
    return path


def _is_certifiable(host: str) -> bool:
    """True for IPv6 addresses and DNS names; False for patterns and for host names such as my_laptop."""
    return ":" in host or all(_LABEL.fullmatch(label) for label in host.split("."))


def _generate(names: list[str]) -> bytes:
    """A new private key and its certificate chain, in PEM."""
    import trustme  # here, because it is slow to import

    until = datetime.now(UTC) + timedelta(days=_VALID_DAYS)
    authority = trustme.CA(organization_name="Parley", organization_unit_name="made by this server")
    issued = authority.issue_cert(*names, organization_name="Parley", not_after=until)
    return issued.private_key_and_cert_chain_pem.bytes()


def _write_private(path: Path, content: bytes) -> None:
    """Write the file atomically, readable by this user only."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:  # its mode is 600
        file.write(content)
    os.replace(file.name, path)
