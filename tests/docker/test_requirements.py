"""The locked requirements of the image satisfy pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def test_locked_versions_satisfy_pyproject() -> None:
    files = (ROOT / "docker" / "requirements").glob("*.txt")
    pinned = {name: version for file in files for name, version in PINNED.findall(file.read_text())}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in map(Requirement, project["dependencies"]):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version and version in requirement.specifier, f"{requirement} is not in the locks: run `make lock`"
