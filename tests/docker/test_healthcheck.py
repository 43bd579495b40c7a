"""Docker's health check, which must ignore a configured proxy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from docker import healthcheck


@contextmanager
def answering(status: int, body: str) -> Iterator[int]:
    """A server with one answer; yields its port."""

    class ReadinessHandler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), ReadinessHandler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("http", "healthy", "said"), [(200, 0, ""), (503, 1, "loading")])
def test_a_ready_server_is_healthy_and_others_print_the_reason(
    http: int, healthy: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with answering(http, said) as port:
        monkeypatch.setenv("PARLEY_PORT", str(port))
        assert healthcheck.main() == healthy
    assert capsys.readouterr().out.strip() == said


def test_no_server_is_unhealthy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PARLEY_PORT", "9")
    assert healthcheck.main() == 1
    assert "refused" in capsys.readouterr().out
