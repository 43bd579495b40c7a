"""A class or type alias has a name of its own in the whole repository."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("server", "model", "docker", "tests")
TYPE_NAME = re.compile(r"[A-Z]\w*[a-z]\w*")  # neither a constant nor private to its module


def type_names(module: ast.Module) -> Iterator[tuple[str, int]]:
    """Name and line of every class, and of every type alias of the module."""
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef):
            yield node.name, node.lineno
    for statement in module.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            yield from ((target.id, statement.lineno) for target in targets if isinstance(target, ast.Name))


def definitions() -> dict[str, list[str]]:
    """The places that define each type name."""
    found = defaultdict(list)
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        for name, line in type_names(ast.parse(path.read_text(encoding="utf-8"))):
            if TYPE_NAME.fullmatch(name):
                found[name].append(f"{path.relative_to(ROOT)}:{line}")
    return found


def test_every_type_name_is_defined_once() -> None:
    assert {name: places for name, places in definitions().items() if len(places) > 1} == {}
