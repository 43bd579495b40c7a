"""Parley's server: many full-duplex calls, one batched engine."""

__version__ = "0.1.0"
