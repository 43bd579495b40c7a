"""Chaos tests use the same server fixtures as all other tests."""

from __future__ import annotations

from tests.server.conftest import patient_engine, quick_watch, serve

__all__ = ["patient_engine", "quick_watch", "serve"]
