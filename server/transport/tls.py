"""https, with the operator's certificate, or with one made here and kept, so that a browser's exception lasts."""

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

_VALID_DAYS = 397  # the most that browsers grant
_RENEW_AFTER_S = 360 * 86_400.0
_LABEL = re.compile(r"(?!-|..--)[A-Za-z0-9-]{1,63}(?<!-)")  # RFC 5891 §4.2.3.1


class TlsUnavailable(Exception):
    """A sentence for the operator: why there is no https."""


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """What to serve https with; None for http. Raises TlsUnavailable."""
    if settings.tls == "self":
        certificate = key = _own_certificate(settings)
    elif settings.tls_cert and settings.tls_key:
        certificate, key = settings.tls_cert, settings.tls_key
    else:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        for path in (certificate, key):
            path.open("rb").close()
        context.load_cert_chain(certificate, key, password="")  # or the terminal would be asked for one
    except ssl.SSLError as error:
        raise TlsUnavailable(
            f"{certificate} and {key} are no certificate and its key, in PEM and without a password ({error.reason})."
        ) from error
    except (OSError, ValueError) as error:
        raise TlsUnavailable(f"cannot read {getattr(error, 'filename', None) or key}: {error}.") from error
    return context


def _own_certificate(settings: Settings) -> Path:
    """The file with a certificate for this machine's names, and its key; made when there is none or an old one."""
    hosts = {settings.host, socket.gethostname(), *settings.allowed_host} - {"0.0.0.0", "::"}
    names = {"localhost", "127.0.0.1", "::1", outbound_address() or "localhost", *filter(_can_be_certified, hosts)}
    names = sorted(names)
    directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "parley"
    path = directory / f"tls-{hashlib.sha256(' '.join(names).encode()).hexdigest()[:16]}.pem"
    try:
        if not path.exists() or path.stat().st_mtime + _RENEW_AFTER_S < time.time():  # noqa: TID251, a date is meant
            directory.mkdir(parents=True, exist_ok=True)
            _write_privately(path, _make(names))
    except OSError as error:
        raise TlsUnavailable(
            f"cannot keep the certificate in {directory}: {error.strerror}. Set XDG_CACHE_HOME to where it can be kept."
        ) from error
    return path


def _can_be_certified(host: str) -> bool:
    """False for patterns, and for names that machines may have and certificates may not, as my_laptop."""
    return ":" in host or all(_LABEL.fullmatch(label) for label in host.split("."))


def _make(names: list[str]) -> bytes:
    """A new key and a certificate for it, PEM."""
    import trustme  # only where it is needed: it takes long to import

    until = datetime.now(UTC) + timedelta(days=_VALID_DAYS)
    authority = trustme.CA(organization_name="Parley", organization_unit_name="made by this server")
    issued = authority.issue_cert(*names, organization_name="Parley", not_after=until)
    return issued.private_key_and_cert_chain_pem.bytes()


def _write_privately(path: Path, content: bytes) -> None:
    """Whole or not at all, and for this user's eyes only."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:  # of mode 600
        file.write(content)
    os.replace(file.name, path)
