"""A full-duplex speech server: one batched engine steps many calls."""

__version__ = "0.1.0"
