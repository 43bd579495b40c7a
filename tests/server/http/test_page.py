"""The page's files: compressed once, revalidated by their ETags, and nothing beside them."""

from __future__ import annotations

import random
from pathlib import Path

import httpx
import pytest

from server.http import page
from server.http.app import WEB
from tests.server.conftest import Serve

LARGEST = max((path for path in WEB.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
LARGEST_PATH = f"/{LARGEST.relative_to(WEB).as_posix()}"


async def test_files_are_sent_as_they_are_or_compressed_and_revalidated(serve: Serve):
    served = await serve()
    async with httpx.AsyncClient(base_url=served.http) as http_client:
        for encoding in ("gzip", "identity", "gzip;q=0", "br, gzip;q=0.5", "*"):
            answer = await http_client.get(LARGEST_PATH, headers={"Accept-Encoding": encoding})
            is_compressed = encoding in ("gzip", "br, gzip;q=0.5")
            assert answer.headers.get("Content-Encoding") == ("gzip" if is_compressed else None)
            assert answer.content == LARGEST.read_bytes() and answer.headers["Vary"] == "Accept-Encoding"
            again = await http_client.get(
                LARGEST_PATH, headers={"Accept-Encoding": encoding, "If-None-Match": answer.headers["ETag"]}
            )
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["Cache-Control"] == "no-cache"
        other = await http_client.get(LARGEST_PATH, headers={"If-None-Match": '"other", W/"x"'})
        assert other.status_code == 200
        assert (await http_client.delete(LARGEST_PATH)).status_code == 405


async def test_file_is_read_and_compressed_once(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    read: list[Path] = []
    real = page.PageFile.read

    def count(path: Path) -> page.PageFile:
        read.append(path)
        return real(path)

    monkeypatch.setattr(page.PageFile, "read", count)
    served = await serve()
    async with httpx.AsyncClient(base_url=served.http) as http_client:
        for _ in range(5):
            assert (await http_client.get(LARGEST_PATH)).status_code == 200
    assert read == [LARGEST]


def test_small_and_incompressible_files_are_not_compressed(tmp_path: Path):
    (tmp_path / "small.js").write_text("1")
    (tmp_path / "packed.png").write_bytes(random.Random(1).randbytes(600))
    for name in ("small.js", "packed.png"):
        file = page.PageFile.read(tmp_path / name)
        assert file.compressed is file.plain
