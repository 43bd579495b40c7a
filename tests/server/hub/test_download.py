"""Files come whole, go on after a break, and are told of."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from filelock import FileLock
from huggingface_hub import constants

from server.hub import download
from server.hub.resolve import ModelUnavailable, resolver

CONTENT = bytes(range(256)) * 4000
COMMIT = "c0ffee" * 6 + "c0ff"


@dataclass
class Hub:
    """What the hub holds, and what it was asked for."""

    sha256: str = hashlib.sha256(CONTENT).hexdigest()
    breaks_after_bytes: int | None = None  # then it has had enough of this client
    ranges: list[str | None] = field(default_factory=list)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine with one file."""
    told = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{told.sha256}"')
            self.send_header("Content-Length", str(len(CONTENT)))
            if len(told.sha256) == 64:  # such files could come by way of hf-xet too
                self.send_header("X-Xet-Hash", told.sha256)
                self.send_header("X-Xet-Refresh-Route", f"{address}/xet-read-token")
            self.end_headers()

        def do_GET(self) -> None:
            if not self.path.endswith("weights.bin"):  # the hub's client asks for other things too
                self.send_error(404)
                return
            if told.breaks_after_bytes and told.ranges:
                self.send_error(403)
                return
            asked = self.headers["Range"]
            told.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            self.wfile.write(CONTENT[start:][: told.breaks_after_bytes])

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100_000)
    monkeypatch.setattr(download, "LOG_INTERVAL_S", 0.001)
    yield told
    server.shutdown()
    server.server_close()


def fetch() -> bytes:
    return resolver("org/repo")("weights.bin").read_bytes()


def part_of(hub: Hub, cache: Path) -> Path:
    return cache / "models--org--repo" / "blobs" / f"{hub.sha256}.part"


def test_a_file_comes_once_and_is_told_of(hub: Hub, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    assert fetch() == CONTENT
    assert fetch() == CONTENT
    assert hub.ranges == [None]
    assert any("downloading weights.bin: " in record.getMessage() for record in caplog.records)


def test_who_waits_for_another_process_tells_how_far_that_is(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As the processes for all GPUs of one machine do at their first start."""
    part = part_of(hub, tmp_path)
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:700_000])
    other = FileLock(part.with_suffix(".lock"))
    other.acquire()
    told: list[str] = []

    def note(message: str, *values: object) -> None:
        told.append(message % values)
        other.release()

    monkeypatch.setattr(download.log, "info", note)
    assert fetch() == CONTENT
    assert told[0] == "another process is downloading weights.bin: 0.7 of 1.0 MB"
    assert hub.ranges == ["bytes=700000-"]


def test_what_an_earlier_process_had_is_not_asked_for_again(hub: Hub, tmp_path: Path):
    part = part_of(hub, tmp_path)
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:700_000])
    assert fetch() == CONTENT
    assert hub.ranges == ["bytes=700000-"]
    assert not part.exists()


def test_a_break_leaves_what_came_and_a_sentence(hub: Hub, tmp_path: Path):
    hub.breaks_after_bytes = 300_000
    with pytest.raises(ModelUnavailable, match=r"org/repo cannot be downloaded"):
        fetch()
    assert part_of(hub, tmp_path).stat().st_size == 300_000
    hub.breaks_after_bytes = None
    assert fetch() == CONTENT
    assert hub.ranges == [None, "bytes=300000-"]


@pytest.mark.parametrize("here", [b"\1" * 700_000, CONTENT + b"more"], ids=["other bytes", "too many"])
def test_what_is_not_the_file_is_never_served(hub: Hub, tmp_path: Path, here: bytes):
    part = part_of(hub, tmp_path)
    part.parent.mkdir(parents=True)
    part.write_bytes(here)
    if len(here) < len(CONTENT):
        with pytest.raises(ModelUnavailable, match="checksum mismatch for"):
            fetch()
    assert fetch() == CONTENT


def test_a_file_without_a_sha256_is_left_to_the_hubs_client(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    hub.sha256 = "0" * 40  # git's own, as small texts have it
    monkeypatch.setattr(download, "http_get", None)
    assert fetch() == CONTENT


def test_without_a_hub_the_cache_is_enough(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    assert fetch() == CONTENT
    nowhere = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", nowhere)
    assert fetch() == CONTENT
    assert hub.ranges == [None]
