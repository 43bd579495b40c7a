"""What a network is used for. Each mode is a `Mode` in a module of its own, and one line here."""

from __future__ import annotations

from model.config import DuplexConfig
from model.modes.duplex import Duplex

# By the config's class, which a checkpoint's family chooses by the checkpoint's model type.
MODES: dict[type[DuplexConfig], type[Duplex]] = {DuplexConfig: Duplex}


def make_mode(config: DuplexConfig) -> Duplex:
    """The network of this shape, its parameters on the meta device."""
    return MODES[type(config)](config)
