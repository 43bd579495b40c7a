"""Which browser the tests drive."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

Js = Callable[..., Awaitable[Any]]  # the `js` fixture: runs a function body against one of the page's modules


def find_chromium() -> str | None:
    """Path of the browser, if this machine has one."""
    return os.environ.get("PARLEY_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


def chromium() -> str:
    """The same. A machine without one fails the tests, unless PARLEY_NO_BROWSER is set."""
    if path := find_chromium():
        return path
    if os.environ.get("PARLEY_NO_BROWSER") == "1":
        pytest.skip("PARLEY_NO_BROWSER=1")
    pytest.fail("No chromium: install it, name it in PARLEY_CHROMIUM, or set PARLEY_NO_BROWSER=1", pytrace=False)
