"""Chaos is tried on the same server as everything else."""

from __future__ import annotations

from tests.server.conftest import serve, short_watch_interval, unpaced_engine

__all__ = ["serve", "short_watch_interval", "unpaced_engine"]
