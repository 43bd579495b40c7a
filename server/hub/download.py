"""Weights and tokenizers from the Hugging Face Hub into its cache: resumed after a break, verified, progress logged.

The hub's own client downloads a file from the beginning when an earlier process did not finish it, and keeps what
that one had downloaded; over HTTP it verifies the size only, and through hf-xet it waits for minutes for a server that
falls silent. Here the part that has come is kept beside the cache's blobs, one process downloads for all that
share the cache, and the whole is compared with its hash. Knows the layout of that cache, and no model.
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
from huggingface_hub import constants
from huggingface_hub.errors import HFValidationError
from huggingface_hub.file_download import get_hf_file_metadata, hf_hub_url, http_get, repo_folder_name
from huggingface_hub.utils import WeakFileLock, build_hf_headers
from tqdm import tqdm

log = logging.getLogger(__name__)

LOG_INTERVAL_S = 10.0
_READ_BYTES = 1 << 24
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ChecksumMismatch(OSError):
    """What was downloaded is not what the hub has."""


def download_verified(repo: str, name: str, revision: str | None) -> None:
    """Put the file into the cache where the hub's client looks for it, unless it is there.

    Texts such as config.json are left to the hub's client: the hub tells no SHA-256 of them.

    Raises OSError and HTTPError for a download that breaks off, and `ChecksumMismatch`.
    """
    headers = build_hf_headers()
    try:
        url = hf_hub_url(repo, name, revision=revision)
        file = get_hf_file_metadata(url, headers=headers)
    except (HTTPError, OSError, HFValidationError):
        return  # the hub's client will ask again, and looks into the cache where there is no answer
    if not file.size or not file.etag or not _SHA256.fullmatch(file.etag):
        return
    blobs = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type="model") / "blobs"
    blob, part = blobs / file.etag, blobs / f"{file.etag}.part"
    blobs.mkdir(parents=True, exist_ok=True)
    with _locked(blobs / f"{file.etag}.lock", part, file.size, name):
        if not blob.exists():
            _resume(part, url, headers, file.size, name)
            _check(part, file.etag, name)
            part.replace(blob)


@contextmanager
def _locked(lock: Path, part: Path, size: int, name: str) -> Iterator[None]:
    """One process at a time; those that wait tell how far the other one is."""
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(WeakFileLock(lock, timeout=LOG_INTERVAL_S))
                break
            except Timeout:
                done = part.stat().st_size if part.exists() else 0
                log.info("another process downloads %s: %.1f of %.1f MB", name, done / 1e6, size / 1e6)
        yield


def _resume(part: Path, url: str, headers: dict[str, str], size: int, name: str) -> None:
    part.touch()
    here = part.stat().st_size
    if here > size:  # no beginning of it
        here = 0
    with part.open("r+b") as file:
        file.truncate(here)
        file.seek(here)
        bar = None if sys.stderr.isatty() else _Lines
        http_get(
            url,
            file,
            resume_size=here,
            headers=headers,
            expected_size=size,
            displayed_filename=name,
            tqdm_class=bar,
        )


def _check(part: Path, sha256: str, name: str) -> None:
    digest = hashlib.sha256()
    with part.open("rb") as file:
        while read := file.read(_READ_BYTES):
            digest.update(read)
    if digest.hexdigest() != sha256:
        part.unlink()
        raise ChecksumMismatch(f"{name} came damaged and was thrown away; start again to download it anew")


class _Lines(tqdm):
    """A progress bar for where there is no terminal: a line of the log every few seconds."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.pop("name", None)
        super().__init__(*args, **{**kwargs, "disable": False, "mininterval": LOG_INTERVAL_S, "miniters": 1})

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Called by tqdm each time that a bar would be drawn."""
        done, whole, speed = self.n / 1e6, (self.total or 0) / 1e6, (self.format_dict["rate"] or 0) / 1e6
        log.info("downloading %s: %.1f of %.1f MB, %.0f MB/s", self.desc, done, whole, speed)
