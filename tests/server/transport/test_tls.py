"""HTTPS: self-signed and given certificates, and their errors at start."""

from __future__ import annotations

import asyncio
import ssl
import stat
from pathlib import Path

import httpx
import pytest

from server.cli import main
from server.settings import Settings
from server.transport import tls
from server.transport.tls import TlsUnavailable, tls_context
from tests.server.chat_client import TIMEOUT_S, open_chat, speech
from tests.server.conftest import Serve


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "parley"


def only_file(directory: Path) -> Path:
    [path] = directory.iterdir()
    return path


def trusting(certificate: Path) -> ssl.SSLContext:
    """A client context that trusts this certificate alone."""
    context = ssl.create_default_context(cafile=str(certificate))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


async def test_self_signed_certificate_serves_https_and_calls(serve: Serve, cache: Path):
    served = await serve(tls="self")
    certificate = only_file(cache)
    async with httpx.AsyncClient(verify=trusting(certificate)) as http_client:
        for name in ("localhost", "127.0.0.1"):
            assert (await http_client.get(f"https://{name}:{served.port}/healthz")).status_code == 200
    async with open_chat(served.chat.replace("ws:", "wss:"), ssl=trusting(certificate)) as client:
        await client.handshake()
        await client.send_frame(speech(1)[0])
        await client.receive_frame()


def test_self_signed_certificate_is_kept_and_private(cache: Path):
    tls_context(Settings(tls="self"))
    [certificate] = cache.iterdir()
    assert stat.S_IMODE(certificate.stat().st_mode) == 0o600
    before = certificate.read_bytes()
    tls_context(Settings(tls="self"))
    assert certificate.read_bytes() == before
    tls_context(Settings(tls="self", allowed_host="talk.example.com"))  # type: ignore[arg-type]
    assert len(list(cache.iterdir())) == 2, "another host name needs another certificate"


def test_old_self_signed_certificate_is_replaced(cache: Path, monkeypatch: pytest.MonkeyPatch):
    tls_context(Settings(tls="self"))
    [certificate] = cache.iterdir()
    before = certificate.read_bytes()
    monkeypatch.setattr(tls, "_RENEW_AFTER_S", -1)
    tls_context(Settings(tls="self"))
    assert certificate.read_bytes() != before


@pytest.mark.parametrize("name", ["my_laptop", "-x", "no--2", f"{'z' * 60}.{'b' * 60}.example.com"])
def test_self_signed_certificate_is_made_for_unusual_host_names(
    name: str, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("socket.gethostname", lambda: name)
    tls_context(Settings(tls="self", allowed_host="*.example.com"))  # type: ignore[arg-type]
    assert only_file(cache).stat().st_size > 0


async def test_given_certificate_serves_https(serve: Serve, cache: Path):
    tls_context(Settings(tls="self"))
    pem = only_file(cache)
    served = await serve(tls_cert=pem, tls_key=pem)
    async with httpx.AsyncClient(verify=trusting(pem)) as http_client:
        assert (await http_client.get(f"https://localhost:{served.port}/healthz")).status_code == 200


async def test_connection_without_a_tls_handshake_is_closed(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("server.transport.server.REQUEST_HEAD_TIMEOUT_S", 0.3)
    served = await serve(tls="self")
    for sent in (b"", b"GET / HTTP/1.1\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(sent)
        async with asyncio.timeout(TIMEOUT_S):
            await reader.read()
        writer.close()


@pytest.mark.parametrize("content", [None, "", "nonsense"])
def test_invalid_certificate_file_is_a_one_line_error(tmp_path: Path, content: str | None):
    path = tmp_path / "cert.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(TlsUnavailable, match=r"cert\.pem"):
        tls_context(Settings(tls_cert=path, tls_key=path))


def test_unwritable_cache_is_a_one_line_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(TlsUnavailable, match="XDG_CACHE_HOME"):
        tls_context(Settings(tls="self"))


@pytest.mark.parametrize(
    ("flags", "status", "expected"),
    [
        (["--tls-cert", "/no/such.pem", "--tls-key", "/no/such.pem"], 1, "/no/such.pem"),
        (["--tls-cert", "/no/such.pem"], 2, "--tls-key"),
        (["--tls", "self", "--tls-cert", "a", "--tls-key", "b"], 2, "--tls self"),
        (["--public", "--call-token-key", "k" * 32], 2, "--public"),
        (["--token", "short"], 2, "--token"),
        (["--call-token-key", "short"], 2, "32 or more"),
        (["--trusted-proxy", "proxy.lan"], 2, "proxy.lan"),
        (["--allowed-origin", "example.com/"], 2, "https://example.com"),
        (["--allowed-host", "https://talk.example.com"], 2, "talk.example.com"),
        (["--allowed-host", "192.0.2.1:8998"], 2, "192.0.2.1:8998"),
        (["--record", ""], 2, "--record"),
        (["--server-id", "a.b"], 2, "--server-id"),
    ],
)
def test_invalid_flags_are_a_one_line_error(
    flags: list[str], status: int, expected: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["serve", "--model", "echo", *flags]) == status
    [line] = capsys.readouterr().err.splitlines()
    assert expected in line and line.startswith("parley: ")
