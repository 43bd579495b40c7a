"""Finds a checkpoint's files: in a directory, or on the Hugging Face Hub, whose files are cached.

Knows where the files are, and not what they contain.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from pathlib import Path

from httpx2 import HTTPError
from huggingface_hub import _CACHED_NO_EXIST, constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name

from server.hub.download import download_verified

Resolve = Callable[[str], Path]

log = logging.getLogger(__name__)

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_WEIGHTS = (".safetensors", ".bin", ".gguf")

logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it logs every retry; we report the outcome
logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs every request, with signed URLs


class ModelUnavailable(Exception):
    """A model cannot be loaded. The message is for the operator: which model, why, and what to do."""


def resolver(model: str) -> Resolve:
    """Return a function that finds the files of `model`: a directory, `org/repo` or `org/repo@revision`.

    That function takes a file name, `hf://org/repo/file` or `file://path`, and returns a local path. It raises
    FileNotFoundError if the checkpoint has no such file, and ModelUnavailable for every other failure. So does this
    one if `model` is neither a directory nor the form of a repository id.
    """
    directory = Path(model).expanduser()
    if directory.is_dir():
        return lambda name: _local(directory, name)
    if model.count("/") != 1 or model.startswith(("/", ".", "~")):
        raise ModelUnavailable(
            f"There is no checkpoint directory {model}. --model takes a directory, a Hugging Face repo id such as "
            "kyutai/moshiko-pytorch-bf16, demo, or (parley serve only) echo."
        )
    repo, _, revision = model.partition("@")
    return lambda name: _path_of_url(name) or _download(repo, name, revision or None)


def _local(directory: Path, name: str) -> Path:
    path = _path_of_url(name) or directory / name
    if not path.is_file():
        raise FileNotFoundError(f"The checkpoint in {directory} has no file {name}.")
    return path


def _is_cached(repo: str, revision: str | None) -> bool:
    """Whether the cache has weights of this repository, and so all that there was to download."""
    home = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type="model")
    ref = home / "refs" / (revision or constants.DEFAULT_REVISION)
    commit = ref.read_text() if ref.is_file() else revision or ""
    snapshot = home / "snapshots" / commit
    return bool(commit) and any(file.suffix in _WEIGHTS and file.exists() for file in snapshot.rglob("*"))


def _path_of_url(name: str) -> Path | None:
    """The local path of a file that a checkpoint names by URL; None if `name` is not a URL."""
    if name.startswith("hf://"):
        address = name.removeprefix("hf://").split("/", 2)
        if len(address) < 3 or not all(address):
            raise ModelUnavailable(
                f"The checkpoint names a file {name}, which does not have the form hf://org/repo/file."
            )
        org, repo, file = address
        return _download(f"{org}/{repo}", file, None)
    return Path(name.removeprefix("file://")) if name.startswith("file://") else None


def _download(repo: str, name: str, revision: str | None) -> Path:
    """The file's path in the cache, downloaded from the hub first if necessary, with progress."""
    try:
        if not constants.HF_HUB_OFFLINE:
            download_verified(repo, name, revision)
        return Path(hf_hub_download(repo, name, revision=revision))
    except GatedRepoError as error:
        raise ModelUnavailable(
            f"The repository {repo} is gated. Accept its conditions on huggingface.co/{repo}, create a token "
            "there, set HF_TOKEN to it and start again."
        ) from error
    except RevisionNotFoundError as error:
        raise ModelUnavailable(f"The repository {repo} has no revision {revision}.") from error
    except LocalEntryNotFoundError as error:
        # The cache also records which files a repository does not have; but not every program does.
        if try_to_load_from_cache(repo, name, revision=revision) is _CACHED_NO_EXIST:
            raise FileNotFoundError(f"The repository {repo} has no file {name}.") from error
        if _is_cached(repo, revision):
            raise FileNotFoundError(
                f"The copy of {repo} in the cache has no file {name}, and the Hugging Face Hub cannot be reached, or "
                "HF_HUB_OFFLINE is set."
            ) from error
        raise ModelUnavailable(
            f"{repo} is not in the cache and cannot be downloaded: the Hugging Face Hub cannot be reached, or "
            "HF_HUB_OFFLINE is set."
        ) from error
    except EntryNotFoundError as error:
        raise FileNotFoundError(f"The repository {repo} has no file {name}.") from error
    except RepositoryNotFoundError as error:
        raise ModelUnavailable(
            f"There is no repository {repo} on the Hugging Face Hub, or it is private. If it is private, set HF_TOKEN."
        ) from error
    except (HTTPError, OSError, RuntimeError, ValueError) as error:  # hf-xet raises RuntimeError
        if isinstance(error, OSError) and error.errno in _READ_ONLY:
            cached = try_to_load_from_cache(repo, name, revision=revision)
            if isinstance(cached, str):
                log.warning("the cache cannot be written; its copy of %s is used, which may be old: %s", name, error)
                return Path(cached)
        reason = str(error) or type(error).__name__
        raise ModelUnavailable(f"{repo} cannot be downloaded: {reason.splitlines()[0]}") from error
