"""Random checkpoints, written once in a test run, and a fake `torch.cuda` for machines without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model import kernels
from model.checkpoints.build import build
from model.checkpoints.families import find
from model.checkpoints.files import in_directory
from model.checkpoints.random import write_checkpoint
from model.execution import cuda_graphs
from model.modes.duplex import Duplex
from tests.golden.cases import CASES
from tests.model.execution.fake_cuda import FakeCuda


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """One thread is fastest for small models, and other tests use the other cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory):
    """A function from a golden case's name to the directory of its checkpoint."""
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
    """The small random model, in float32."""
    duplex, _ = build(find(in_directory(babble_directory)), torch.device("cpu"), torch.float32)
    return duplex


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    cuda = FakeCuda()
    for name in ("CUDAGraph", "Stream", "Event", "current_stream", "stream", "graph_pool_handle", "graph"):
        monkeypatch.setattr(torch.cuda, name, getattr(cuda, name))
    monkeypatch.setattr(torch.backends.cuda, "enable_cudnn_sdp", cuda.cudnn_sdp.append)
    monkeypatch.setattr(cuda_graphs, "_pinned", torch.zeros_like)
    monkeypatch.setattr(kernels, "host_can_read", lambda tensor: False)  # as on a GPU
    return cuda
