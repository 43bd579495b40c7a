"""The job that writes deletion costs, against an API like Kubernetes'."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import trustme

from docker.kubernetes import deletion_cost
from docker.kubernetes.deletion_cost import COST

POD = {"metadata": {"name": "parley-1"}, "status": {"podIP": "10.0.0.1"}}
UNCHANGED = {"metadata": {"name": "parley-2", "annotations": {COST: "0"}}, "status": {"podIP": "10.0.0.2"}}
PENDING = {"metadata": {"name": "parley-3"}, "status": {}}


class PodsApi(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), PodsHandler)
        self.requests: list[tuple[str, str, str | None]] = []
        self.patches: dict[str, Any] = {}


class PodsHandler(BaseHTTPRequestHandler):
    server: PodsApi  # type: ignore[assignment]

    def do_GET(self) -> None:
        self._answer({"items": [POD, UNCHANGED, PENDING]})

    def do_PATCH(self) -> None:
        assert self.headers["Content-Type"] == "application/merge-patch+json"
        patch = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.patches[self.path.rsplit("/", 1)[1]] = patch["metadata"]["annotations"]
        self._answer({})

    def _answer(self, body: dict[str, Any]) -> None:
        self.server.requests.append((self.command, self.path, self.headers["Authorization"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PodsApi]:
    authority = trustme.CA()
    (tmp_path / "namespace").write_text("talk")
    (tmp_path / "token").write_text("of-the-account")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    server = PodsApi()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(deletion_cost, "ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.server_port))
    yield server
    server.shutdown()
    server.server_close()


def test_each_pods_calls_become_its_deletion_cost(api: PodsApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion_cost, "_running", {"10.0.0.1": 7, "10.0.0.2": 0}.__getitem__)
    assert deletion_cost.main() == 0
    assert api.patches == {"parley-1": {COST: "7"}, "parley-3": {COST: "0"}}  # unchanged costs are not written
    listed, *patched = api.requests
    assert listed[:2] == ("GET", f"/api/v1/namespaces/talk/pods?labelSelector={deletion_cost.SELECTOR}")
    assert [path for _, path, _ in patched] == [f"/api/v1/namespaces/talk/pods/{name}" for name in api.patches]
    assert {token for _, _, token in api.requests} == {"Bearer of-the-account"}


def test_a_server_that_does_not_answer_counts_as_no_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLEY_TOKEN", "whatever")
    assert deletion_cost._running("127.0.0.9") == 0
