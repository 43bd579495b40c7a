"""A checkpoint's files, by the names that they have in its directory or repository.

Nothing is downloaded here: for files that are elsewhere, the `resolve` that is passed in fetches them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from model.errors import CheckpointNotFound, UnsupportedModel


def in_directory(directory: Path) -> Callable[[str], Path]:
    """A `resolve` for a checkpoint directory. Raises `CheckpointNotFound` if there is none."""
    if not directory.is_dir():
        raise CheckpointNotFound(f"There is no checkpoint directory {directory}.")

    def resolve(name: str) -> Path:
        path = Path(name.removeprefix("file://")) if name.startswith("file://") else directory / name
        if not path.is_file():
            raise CheckpointNotFound(f"The checkpoint in {directory} has no file {name}.")
        return path

    return resolve


class Files:
    """Files by name; each is fetched once, when it is first asked for, so ask for small ones first."""

    def __init__(self, resolve: Callable[[str], Path]):
        """`resolve(name)` gives a local path or raises `CheckpointNotFound`.

        A name is a file of the checkpoint, `hf://org/repo/file` or `file://path`.
        """
        self._resolve = resolve
        self._found: dict[str, Path | CheckpointNotFound] = {}
        self._keys: dict[Path, frozenset[str]] = {}

    def path(self, name: str) -> Path:
        """The file's local path. Raises `CheckpointNotFound`."""
        if name not in self._found:
            try:
                self._found[name] = self._resolve(name)
            except CheckpointNotFound as error:
                self._found[name] = error
        found = self._found[name]
        if isinstance(found, CheckpointNotFound):
            raise found
        return found

    def find(self, name: str) -> Path | None:
        """The file's local path; None if the checkpoint has no such file."""
        try:
            return self.path(name)
        except CheckpointNotFound:
            return None

    def json(self, name: str) -> dict[str, Any]:
        """A JSON file's object. Raises `CheckpointNotFound`, `UnsupportedModel` for anything else in it."""
        path = self.path(name)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UnsupportedModel(f"{path} is not a readable JSON file: {error}.") from error
        if not isinstance(content, dict):
            raise UnsupportedModel(f"{path} does not hold a JSON object.")
        return content

    def find_json(self, name: str) -> dict[str, Any] | None:
        """The same; None if the checkpoint has no such file."""
        return None if self.find(name) is None else self.json(name)

    def keys(self, name: str) -> frozenset[str]:
        """The names of a safetensors file's tensors. Raises `CheckpointNotFound`."""
        path = self.path(name)
        if path not in self._keys:
            self._keys[path] = frozenset(open_safetensors(path).keys())
        return self._keys[path]


def open_safetensors(path: Path) -> safe_open:
    """Open a weights file. Raises `CheckpointNotFound` if it is missing or broken."""
    try:
        return safe_open(path, framework="pt")
    except FileNotFoundError as error:
        raise CheckpointNotFound(f"There is no weights file {path}.") from error
    except (OSError, SafetensorError) as error:
        raise CheckpointNotFound(
            f"The weights file {path} can't be read ({error}); was its download cut short?"
        ) from error
