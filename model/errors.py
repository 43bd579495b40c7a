"""Errors raised while a model is found, read, built and given a device.

ModelError
├── CheckpointNotFound   no such directory, repository or file, or it may not be read
├── UnsupportedModel     a checkpoint of a kind that is not supported
├── UnfitDevice          a device that lacks the memory or the arithmetic
└── WeightsError         a tensor is missing, unexpected or misshapen

Each message is one sentence for the person who started the program.
"""

from __future__ import annotations


class ModelError(Exception):
    """Base of everything that this package raises on purpose."""


class CheckpointNotFound(ModelError):
    """The checkpoint, or a file it names, is not there or may not be read."""


class UnsupportedModel(ModelError):
    """The configuration asks for a network that is not built here."""


class UnfitDevice(ModelError):
    """The device lacks the memory, or its chip the arithmetic, that the choices need."""


class WeightsError(ModelError):
    """The tensors in a file are not exactly those that the configuration calls for."""
