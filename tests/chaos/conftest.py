"""Chaos tests use the same server fixtures as all other tests."""

from __future__ import annotations

from tests.server.conftest import serve, short_watch_interval, unpaced_engine

__all__ = ["serve", "short_watch_interval", "unpaced_engine"]
