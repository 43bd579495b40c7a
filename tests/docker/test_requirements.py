"""The locked requirements satisfy pyproject.toml, and are what the image and `make run` install."""

from __future__ import annotations

import os
import re
import subprocess
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


def test_every_locked_requirement_has_hashes() -> None:
    for file in (ROOT / "docker" / "requirements").glob("*.txt"):
        for requirement in re.split(r"\n(?=[a-z])", file.read_text())[1:]:
            assert "--hash=sha256:" in requirement, requirement


def test_make_run_installs_torch_without_a_hash_and_everything_else_with_one() -> None:
    """From the commands that make would run in a new checkout."""
    made = subprocess.run(
        ["make", "--always-make", "--dry-run", "--no-print-directory", "setup", "TORCH_INDEX="],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},  # without what a make that runs this test passes on
        capture_output=True,
        text=True,
        check=True,
    )
    commands = [line.split() for line in made.stdout.splitlines() if re.search(r"\bpip install\b", line)]
    unhashed = [" ".join(command[2:]) for command in commands if "--require-hashes" not in command]
    assert unhashed == ["torch==2.13.0", "--no-deps --no-build-isolation --editable ."]
    locked = [command[-1] for command in commands if "--require-hashes" in command]
    assert locked == [".venv/setuptools.txt", "docker/requirements/python.txt"]


def test_the_locks_hold_for_every_system_and_python_of_the_project() -> None:
    """A requirement of some of them is there, with its condition; without that, pip would install it everywhere."""
    python = (ROOT / "docker" / "requirements" / "python.txt").read_text()
    assert "colorama==" in python and "sys_platform == 'win32'" in python
