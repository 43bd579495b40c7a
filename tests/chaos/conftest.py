"""Chaos is tried on the same server as everything else."""

from __future__ import annotations

from tests.server.conftest import patient_engine, quick_watch, serve

__all__ = ["patient_engine", "quick_watch", "serve"]
