"""Downloads: files are complete, resume after a break, and are logged."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from filelock import FileLock
from huggingface_hub import constants, file_download

from server.hub import download
from server.hub.resolve import ModelUnavailable, resolver

CONTENT = bytes(range(256)) * 4000
COMMIT = "c0ffee" * 6 + "c0ff"


@dataclass
class FakeHub:
    """The state of the fake hub, and the ranges that clients requested."""

    sha256: str = hashlib.sha256(CONTENT).hexdigest()
    breaks_after_bytes: int | None = None  # cut the response here, and refuse later requests
    commit: str = COMMIT
    ranges: list[str | None] = field(default_factory=list)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A Hugging Face hub on this machine with one file."""
    state = FakeHub()

    class HubHandler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("X-Repo-Commit", state.commit)
            self.send_header("ETag", f'"{state.sha256}"')
            self.send_header("Content-Length", str(len(CONTENT)))
            if len(state.sha256) == 64:  # as for files that hf-xet could download
                self.send_header("X-Xet-Hash", state.sha256)
                self.send_header("X-Xet-Refresh-Route", f"{address}/xet-read-token")
            self.end_headers()

        def do_GET(self) -> None:
            if not self.path.endswith("weights.bin"):  # huggingface_hub asks for other files too
                self.send_error(404)
                return
            if state.breaks_after_bytes and state.ranges:
                self.send_error(403)
                return
            asked = self.headers["Range"]
            state.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            self.wfile.write(CONTENT[start:][: state.breaks_after_bytes])

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), HubHandler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100_000)
    monkeypatch.setattr(download, "LOG_INTERVAL_S", 0.001)
    yield state
    server.shutdown()
    server.server_close()


def fetch() -> bytes:
    return resolver("org/repo")("weights.bin").read_bytes()


def part_of(hub: FakeHub, cache: Path) -> Path:
    return cache / "models--org--repo" / "blobs" / f"{hub.sha256}.part"


def test_file_is_downloaded_once_and_logged(hub: FakeHub, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    assert fetch() == CONTENT
    assert fetch() == CONTENT
    assert hub.ranges == [None]
    assert any("downloading weights.bin: " in record.getMessage() for record in caplog.records)


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it, and no folder, lock or link can be made any more, as on a volume that is read-only."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    def set_read_only() -> None:
        for owner, name in [
            (os, "mkdir"),
            (os, "symlink"),
            (download, "WeakFileLock"),
            (file_download, "WeakFileLock"),
        ]:
            monkeypatch.setattr(owner, name, refuse)

    return set_read_only


@pytest.mark.parametrize("is_offline", [False, True])
def test_complete_cache_on_a_read_only_volume_is_used(
    hub: FakeHub, read_only: Callable[[], None], monkeypatch: pytest.MonkeyPatch, is_offline: bool
):
    assert fetch() == CONTENT
    read_only()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", is_offline)
    assert fetch() == CONTENT
    assert hub.ranges == [None]


def test_cache_without_links_that_was_copied_to_a_read_only_volume_is_used(
    hub: FakeHub, tmp_path: Path, read_only: Callable[[], None]
):
    fetch()
    file = next((tmp_path / "models--org--repo" / "snapshots").rglob("weights.bin"))
    content = file.read_bytes()
    shutil.rmtree(tmp_path / "models--org--repo" / "blobs")
    file.unlink()
    file.write_bytes(content)
    read_only()
    assert fetch() == CONTENT and hub.ranges == [None]


def test_older_copy_in_a_read_only_cache_is_used_with_a_warning(
    hub: FakeHub, read_only: Callable[[], None], caplog: pytest.LogCaptureFixture
):
    fetch()
    hub.commit, hub.sha256 = "d00d" * 10, "1" * 64  # the repository has changed since
    read_only()
    assert fetch() == CONTENT
    assert "may be old" in caplog.text


def test_optional_file_that_another_program_never_marked_absent_is_absent_offline(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelUnavailable, match="not in the cache"):
        resolver("org/repo")("config.json")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    fetch()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError, match=r"no file config\.json"):
        resolver("org/repo")("config.json")
    commit = (tmp_path / "models--org--repo" / "refs" / "main").read_text()
    with pytest.raises(FileNotFoundError):
        resolver(f"org/repo@{commit}")("config.json")


def test_waiting_for_another_process_logs_its_progress(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """This happens at the first start of several processes, one per GPU."""
    part = part_of(hub, tmp_path)
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:700_000])
    other = FileLock(part.with_suffix(".lock"))
    other.acquire()
    logged: list[str] = []

    def note(message: str, *values: object) -> None:
        logged.append(message % values)
        other.release()

    monkeypatch.setattr(download.log, "info", note)
    assert fetch() == CONTENT
    assert logged[0] == "another process is downloading weights.bin: 0.7 of 1.0 MB"
    assert hub.ranges == ["bytes=700000-"]


def test_partial_file_of_an_earlier_process_is_resumed(hub: FakeHub, tmp_path: Path):
    part = part_of(hub, tmp_path)
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:700_000])
    assert fetch() == CONTENT
    assert hub.ranges == ["bytes=700000-"]
    assert not part.exists()


def test_interrupted_download_is_an_error_and_resumes_later(hub: FakeHub, tmp_path: Path):
    hub.breaks_after_bytes = 300_000
    with pytest.raises(ModelUnavailable, match=r"org/repo cannot be downloaded"):
        fetch()
    assert part_of(hub, tmp_path).stat().st_size == 300_000
    hub.breaks_after_bytes = None
    assert fetch() == CONTENT
    assert hub.ranges == [None, "bytes=300000-"]


@pytest.mark.parametrize("here", [b"\1" * 700_000, CONTENT + b"more"], ids=["other bytes", "too many bytes"])
def test_partial_file_with_a_wrong_checksum_is_never_used(hub: FakeHub, tmp_path: Path, here: bytes):
    part = part_of(hub, tmp_path)
    part.parent.mkdir(parents=True)
    part.write_bytes(here)
    if len(here) < len(CONTENT):
        with pytest.raises(ModelUnavailable, match="checksum mismatch for"):
            fetch()
    assert fetch() == CONTENT


def test_file_without_a_sha256_is_downloaded_by_huggingface_hub(hub: FakeHub, monkeypatch: pytest.MonkeyPatch):
    hub.sha256 = "0" * 40  # a git hash, as small text files have
    monkeypatch.setattr(download, "http_get", None)
    assert fetch() == CONTENT


def test_cached_file_is_used_without_a_hub(hub: FakeHub, monkeypatch: pytest.MonkeyPatch):
    assert fetch() == CONTENT
    nowhere = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", nowhere)
    assert fetch() == CONTENT
    assert hub.ranges == [None]
