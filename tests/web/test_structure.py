"""The files of the page and of its client: what they import, and what a first visit fetches."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "web"
CLIENT, PAGE = WEB / "client", WEB / "page"
# Static and dynamic imports, addresses of workers and worklets, and types in comments.
REFERENCE = re.compile(r"(?:from |import |import\()'(\.[^']*)'|new URL\('([^']*)', import\.meta\.url\)")


def modules(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*.js")) if "vendor" not in path.parts]


def references(module: Path) -> Iterator[Path]:
    for imported, loaded in REFERENCE.findall(module.read_text()):
        yield (module.parent / (imported or loaded)).resolve()


def test_client_has_modules_and_they_refer_to_each_other():
    assert CLIENT / "net" / "server.js" in set(references(CLIENT / "parley.js"))
    assert CLIENT / "net" / "worker.js" in set(references(CLIENT / "call.js"))
    assert len(modules(CLIENT)) > 15


@pytest.mark.parametrize("module", modules(CLIENT), ids=lambda path: path.name)
def test_client_module_imports_nothing_outside_the_client(module: Path):
    assert [path for path in references(module) if not path.is_relative_to(CLIENT)] == []


@pytest.mark.parametrize("module", modules(WEB), ids=lambda path: path.name)
def test_module_refers_only_to_files_that_exist(module: Path):
    assert [path for path in references(module) if not path.exists()] == []


def test_page_stays_light():
    """What a first visit fetches, as the server sends it: text compressed. Icons and the fallback codec come later."""
    later = {"vendor", "icons", "LICENSE"}
    total = 0
    for path in WEB.rglob("*"):
        if path.suffix in {".js", ".html", ".css", ".svg", ".webmanifest", ".woff2"} and not later & set(path.parts):
            data = path.read_bytes()
            total += len(data) if path.suffix == ".woff2" else len(gzip.compress(data, 6))
    assert 20_000 < total < 120_000


def test_page_preloads_every_module_that_it_imports():
    """A browser finds a module's imports only after reading it, so index.html names them all."""
    needed: set[Path] = set()
    left = [PAGE / "main.js"]
    while left:
        module = left.pop()
        needed.add(module)
        imports = re.findall(r"^import [^;]*?from '(\.[^']+)';", module.read_text(), re.MULTILINE | re.DOTALL)
        left += {(module.parent / path).resolve() for path in imports} - needed
    preloads = re.findall(r'<link rel="modulepreload" href="([^"]+)"', (WEB / "index.html").read_text())
    assert {WEB / path for path in preloads} == needed - {PAGE / "main.js"}


def test_page_names_only_files_that_exist():
    for document in (WEB / "index.html", WEB / "manifest.webmanifest"):
        named = re.findall(r'(?:href=|src=|"src": )"([^"#]+)"', document.read_text())
        assert len(named) > 3
        assert [path for path in named if not (WEB / path).is_file()] == []
