"""Checkpoints: found on disk, read and built. Only this package reads a checkpoint's files or knows its names."""
