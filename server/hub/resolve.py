"""Checkpoints by name: a directory here, or a repository on the Hugging Face Hub, downloaded once and kept.

Knows where files are, not what is in them.
"""

from __future__ import annotations

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

from server.hub.download import download_verified

Resolve = Callable[[str], Path]

logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells of every retry; we tell of the outcome
logging.getLogger("httpx2").setLevel(logging.WARNING)  # and of every request, with signed addresses


class ModelUnavailable(Exception):
    """A sentence for the operator: which model can't be had, why, and what to do."""


def resolver(model: str) -> Resolve:
    """What finds the files of `model`: a directory, `org/repo` or `org/repo@revision`.

    The function it returns takes a file's name, `hf://org/repo/file` or `file://path`, and gives a local path. It
    raises `FileNotFoundError` for a file that the checkpoint lacks, and `ModelUnavailable` for all else.
    """
    directory = Path(model).expanduser()
    if directory.is_dir():
        return lambda name: _local(directory, name)
    if model.count("/") != 1 or model.startswith(("/", ".", "~")):
        raise ModelUnavailable(
            f"There is no checkpoint directory {model}; --model takes a directory, a Hugging Face repo id such as "
            "kyutai/moshiko-pytorch-bf16, demo, or, to serve, echo."
        )
    repo, _, revision = model.partition("@")
    return lambda name: _elsewhere(name) or _download(repo, name, revision or None)


def _local(directory: Path, name: str) -> Path:
    path = _elsewhere(name) or directory / name
    if not path.is_file():
        raise FileNotFoundError(f"The checkpoint in {directory} has no file {name}.")
    return path


def _elsewhere(name: str) -> Path | None:
    """A file that a checkpoint names by address."""
    if name.startswith("hf://"):
        address = name.removeprefix("hf://").split("/", 2)
        if len(address) < 3 or not all(address):
            raise ModelUnavailable(f"The checkpoint names a file {name}, which is not hf://org/repo/file.")
        org, repo, file = address
        return _download(f"{org}/{repo}", file, None)
    return Path(name.removeprefix("file://")) if name.startswith("file://") else None


def _download(repo: str, name: str, revision: str | None) -> Path:
    """The file from the cache, or from the hub, whose progress is shown."""
    try:
        if not constants.HF_HUB_OFFLINE:
            download_verified(repo, name, revision)
        return Path(hf_hub_download(repo, name, revision=revision))
    except GatedRepoError as error:
        raise ModelUnavailable(
            f"The repository {repo} is gated: accept its conditions on huggingface.co/{repo}, make a token there, "
            "and start again with HF_TOKEN set to it."
        ) from error
    except RevisionNotFoundError as error:
        raise ModelUnavailable(f"The repository {repo} has no revision {revision}.") from error
    except LocalEntryNotFoundError as error:
        # A cache also remembers what a repository does not have.
        if try_to_load_from_cache(repo, name, revision=revision) is _CACHED_NO_EXIST:
            raise FileNotFoundError(f"The repository {repo} has no file {name}.") from error
        raise ModelUnavailable(
            f"{repo} is not on this machine and can't be downloaded: the Hugging Face Hub can't be reached, or "
            "HF_HUB_OFFLINE is set."
        ) from error
    except EntryNotFoundError as error:
        raise FileNotFoundError(f"The repository {repo} has no file {name}.") from error
    except RepositoryNotFoundError as error:
        raise ModelUnavailable(
            f"There is no repository {repo} on the Hugging Face Hub, or it is private: then set HF_TOKEN."
        ) from error
    except (HTTPError, OSError, RuntimeError, ValueError) as error:  # hf-xet raises RuntimeError
        reason = str(error) or type(error).__name__
        raise ModelUnavailable(f"{repo} can't be downloaded: {reason.splitlines()[0]}") from error
