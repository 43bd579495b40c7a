"""Random checkpoints, written once a test run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.checkpoints.build import build
from model.checkpoints.families import find
from model.checkpoints.files import in_directory
from model.checkpoints.random import write_checkpoint
from model.modes.duplex import Duplex
from tests.golden.cases import CASES


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small models are fastest so, and the machine is shared with other tests."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory):
    """The directory of a golden case's checkpoint."""
    written: dict[str, Path] = {}

    def directory(name: str) -> Path:
        if name not in written:
            written[name] = tmp_path_factory.mktemp(name)
            CASES[name].write(written[name])
        return written[name]

    return directory


@pytest.fixture(scope="session")
def babble_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("small")
    write_checkpoint(directory)
    return directory


@pytest.fixture(scope="session")
def babble(babble_directory: Path) -> Duplex:
    """The small model that is served when there is no other."""
    duplex, _ = build(find(in_directory(babble_directory)), torch.device("cpu"), torch.float32)
    return duplex
