"""Names of checkpoints become files, and every failure is a clear error."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import MagicMock

import pytest
from httpx2 import ConnectError
from huggingface_hub import errors, try_to_load_from_cache

from server.hub import resolve as hub
from server.hub.resolve import ModelUnavailable, resolver


def test_files_of_a_directory_are_resolved(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    elsewhere = tmp_path / "elsewhere.bin"
    elsewhere.write_bytes(b"x")
    resolve = resolver(str(tmp_path))
    assert resolve("config.json") == tmp_path / "config.json"
    assert resolve(f"file://{elsewhere}") == elsewhere
    with pytest.raises(FileNotFoundError, match=r"no file weights\.bin"):
        resolve("weights.bin")


@pytest.mark.parametrize("name", ["nowhere", "./a/b", "/a/b", "a/b/c", "~/none"])
def test_name_of_neither_a_directory_nor_a_repository_is_an_error(name: str):
    with pytest.raises(ModelUnavailable, match="no checkpoint directory"):
        resolver(name)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "download_verified", lambda *_: None)


def test_repository_name_and_revision_reach_the_hub(monkeypatch: pytest.MonkeyPatch):
    asked = []

    def download(repo: str, name: str, revision: str | None = None) -> str:
        asked.append((repo, name, revision))
        return "/cache/file"

    monkeypatch.setattr(hub, "hf_hub_download", download)
    resolve = resolver("kyutai/moshiko@v1")
    assert resolve("config.json") == Path("/cache/file")
    resolve("hf://other/repo/sub/tokenizer.model")
    assert asked == [("kyutai/moshiko", "config.json", "v1"), ("other/repo", "sub/tokenizer.model", None)]


@pytest.mark.parametrize("name", ["hf://", "hf://other", "hf://other/repo", "hf://other/repo/", "hf:///repo/file"])
def test_incomplete_hf_url_is_an_error(tmp_path: Path, name: str):
    with pytest.raises(ModelUnavailable, match=f"names a file {name}, which does not have the form"):
        resolver(str(tmp_path))(name)


def error(kind: type[Exception]) -> Exception:
    """An error as huggingface_hub raises it."""
    if issubclass(kind, errors.HfHubHTTPError):
        return kind("no\nmore", response=MagicMock(headers={}))
    return kind("no\nmore")


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (errors.GatedRepoError, "gated.*HF_TOKEN"),
        (errors.RepositoryNotFoundError, "no repository a/b.*HF_TOKEN"),
        (errors.RevisionNotFoundError, "no revision v9"),
        (errors.LocalEntryNotFoundError, "not in the cache"),
        (errors.HfHubHTTPError, "cannot be downloaded: no$"),
        (OSError, "cannot be downloaded: no$"),
        (RuntimeError, "cannot be downloaded: no$"),
        (errors.HFValidationError, "cannot be downloaded: no$"),
        (ConnectError, "cannot be downloaded: no$"),
    ],
)
def test_each_hub_error_is_a_one_line_error(monkeypatch: pytest.MonkeyPatch, raised: type[Exception], message: str):
    def download(*args: object, **kwargs: object) -> str:
        raise error(raised)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    with pytest.raises(ModelUnavailable, match=message):
        resolver("a/b@v9")("config.json")


def test_hub_error_without_a_message_is_named_by_its_class(monkeypatch: pytest.MonkeyPatch):
    def download(*args: object, **kwargs: object) -> str:
        raise TimeoutError

    monkeypatch.setattr(hub, "hf_hub_download", download)
    with pytest.raises(ModelUnavailable, match=r"cannot be downloaded: TimeoutError$"):
        resolver("a/b")("config.json")


def test_cached_absence_of_a_file_is_file_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Offline, with a cached checkpoint that has no config.json."""
    home = tmp_path / "models--a--b"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("c0ffee")
    (home / ".no_exist" / "c0ffee").mkdir(parents=True)
    (home / ".no_exist" / "c0ffee" / "config.json").touch()

    def download(*args: object, **kwargs: object) -> str:
        raise error(errors.LocalEntryNotFoundError)

    def load_from_cache(repo: str, name: str, revision: str | None) -> object:
        return try_to_load_from_cache(repo, name, cache_dir=tmp_path, revision=revision)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    monkeypatch.setattr(hub, "try_to_load_from_cache", load_from_cache)
    with pytest.raises(FileNotFoundError):
        resolver("a/b")("config.json")
    with pytest.raises(ModelUnavailable):
        resolver("a/b")("model.safetensors")


def test_file_missing_from_the_repository_is_file_not_found(monkeypatch: pytest.MonkeyPatch):
    def download(*args: object, **kwargs: object) -> str:
        raise error(errors.EntryNotFoundError)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    with pytest.raises(FileNotFoundError, match="has no file"):
        resolver("a/b")("config.json")
