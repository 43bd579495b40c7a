"""Parley's server: many full-duplex calls, one batched engine."""
