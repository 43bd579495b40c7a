"""Downloads weights and tokenizers from the Hugging Face Hub into its cache: resumed, verified, with progress logged.

The hub's own client downloads a file from the beginning if an earlier process did not finish it, and leaves that
process's part on disk; over HTTP it verifies the size only, and through hf-xet it waits minutes for a server that stops
sending. Here a partial download is kept beside the cache's blobs and resumed, one process downloads for all that share
the cache, and the SHA-256 is compared. Knows the layout of that cache, and no model.
"""

from __future__ import annotations

import hashlib
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from filelock import Timeout
from httpx2 import HTTPError
from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from huggingface_hub.file_download import get_hf_file_metadata, hf_hub_url, http_get, repo_folder_name
from huggingface_hub.utils import WeakFileLock, build_hf_headers
from tqdm import tqdm

log = logging.getLogger(__name__)

LOG_INTERVAL_S = 10.0
_READ_BYTES = 1 << 24
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ChecksumMismatch(OSError):
    """The downloaded file's SHA-256 differs from the hub's."""


def download_verified(repo: str, name: str, revision: str | None) -> None:
    """Download the file to where the hub's client looks for it in the cache, unless it is there.

    Does nothing for text files such as config.json: the hub publishes no SHA-256 of them, so its client loads them.

    Raises OSError or HTTPError if the download breaks off, and ChecksumMismatch.
    """
    headers = build_hf_headers()
    try:
        url = hf_hub_url(repo, name, revision=revision)
        file = get_hf_file_metadata(url, headers=headers)
    except (HTTPError, OSError, HFValidationError):
        return  # the hub's client tries again, and falls back to the cache
    if not file.size or not file.etag or not _SHA256.fullmatch(file.etag):
        return
    if isinstance(try_to_load_from_cache(repo, name, constants.HF_HUB_CACHE, file.commit_hash), str):
        return  # without a write: the cache may be read-only, or another user's
    blobs = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type="model") / "blobs"
    blob, part = blobs / file.etag, blobs / f"{file.etag}.part"
    blobs.mkdir(parents=True, exist_ok=True)
    with _locked(blobs / f"{file.etag}.lock", part, file.size, name):
        if not blob.exists():
            _resume(part, url, headers, file.size, name)
            _verify_sha256(part, file.etag, name)
            part.replace(blob)


@contextmanager
def _locked(lock: Path, part: Path, size_bytes: int, name: str) -> Iterator[None]:
    """Let one process at a time download; the others log its progress while they wait."""
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(WeakFileLock(lock, timeout=LOG_INTERVAL_S))
                break
            except Timeout:
                done_bytes = part.stat().st_size if part.exists() else 0
                log.info("another process is downloading %s: %.1f of %.1f MB", name, done_bytes / 1e6, size_bytes / 1e6)
        yield


def _resume(part: Path, url: str, headers: dict[str, str], size_bytes: int, name: str) -> None:
    """Download the rest of `part`, which will have `size_bytes`. Raises OSError, HTTPError."""
    part.touch()
    resume_at = part.stat().st_size
    if resume_at > size_bytes:  # it is of another file
        resume_at = 0
    with part.open("r+b") as file:
        file.truncate(resume_at)
        file.seek(resume_at)
        http_get(
            url,
            file,
            resume_size=resume_at,
            headers=headers,
            expected_size=size_bytes,
            displayed_filename=name,
            tqdm_class=None if sys.stderr.isatty() else _LoggedProgress,
        )


def _verify_sha256(part: Path, sha256: str, name: str) -> None:
    """Compare the SHA-256 of `part`. Deletes it and raises ChecksumMismatch if they differ."""
    digest = hashlib.sha256()
    with part.open("rb") as file:
        while read := file.read(_READ_BYTES):
            digest.update(read)
    if digest.hexdigest() != sha256:
        part.unlink()
        raise ChecksumMismatch(f"checksum mismatch for {name}; the file was deleted, restart to download it again")


class _LoggedProgress(tqdm):
    """A progress bar that logs a line every few seconds, for output that is not a terminal."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.pop("name", None)
        super().__init__(*args, **{**kwargs, "disable": False, "mininterval": LOG_INTERVAL_S, "miniters": 1})

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Called by tqdm whenever it would draw the bar."""
        done_mb, total_mb = self.n / 1e6, (self.total or 0) / 1e6
        mb_per_s = (self.format_dict["rate"] or 0) / 1e6
        log.info("downloading %s: %.1f of %.1f MB, %.0f MB/s", self.desc, done_mb, total_mb, mb_per_s)
