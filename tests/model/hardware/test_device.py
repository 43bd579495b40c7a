"""The choice of a device, and the reasons for refusing one; PyTorch's answers about GPUs are faked."""

from __future__ import annotations

import logging
import os
import subprocess
from dataclasses import dataclass, replace

import pytest
import torch

from model import kernels
from model.checkpoints.build import meta_model
from model.checkpoints.moshi_config import duplex_config
from model.errors import UnfitDevice
from model.hardware.device import find_device, refuse_unfit, resolve_slots
from model.hardware.gpus import GIB
from model.modes.duplex import Duplex

CUDA = torch.device("cuda", 0)


@dataclass(frozen=True)
class Machine:
    """A machine with one GPU."""

    name: str = "NVIDIA L4"
    capability: tuple[int, int] = (8, 9)
    free_gib: float = 21.6
    total_gib: float = 22.03

    def put(self, monkeypatch: pytest.MonkeyPatch) -> None:
        free_and_total = int(self.free_gib * GIB), int(self.total_gib * GIB)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: self.name)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: self.capability)
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_86", "sm_90"])
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: free_and_total)
        monkeypatch.setattr(kernels, "refuse_no_compiler", lambda: None)


L4 = Machine()


@pytest.fixture(scope="module")
def moshi() -> Duplex:
    return meta_model(duplex_config(None, None), torch.bfloat16)


@pytest.fixture(scope="module")
def light_moshi() -> Duplex:
    return meta_model(duplex_config(None, None), torch.bfloat16, torch.int8)


def slots(
    model: Duplex, kv_dtype: torch.dtype | None = None, asked: int | None = None, device: torch.device = CUDA
) -> int:
    return resolve_slots(device, model, kv_dtype, asked, default=8, remedy="add --kv-cache-dtype int8")


@pytest.mark.parametrize(
    ("machine", "count", "said"),
    [
        (L4, 9, "L4 22.0 GiB: 9 callers; memory bandwidth is the limit"),
        (replace(L4, free_gib=16), 8, "L4 22.0 GiB: 8 callers; memory is the limit"),  # another process uses the rest
        (Machine("NVIDIA H200", (9, 0), 139.2, 139.8), 165, "H200 139.8 GiB: 165 callers; memory is the limit"),
        (replace(L4, name="NVIDIA Unheard-of"), 15, "NVIDIA Unheard-of 22.0 GiB: 15 callers; memory is the limit"),
    ],
)
def test_a_gpu_gets_the_slots_that_fit_and_logs_them(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    light_moshi: Duplex,
    machine: Machine,
    count: int,
    said: str,
):
    machine.put(monkeypatch)
    caplog.set_level(logging.INFO, "model")
    assert slots(light_moshi, torch.int8) == count
    assert caplog.messages == [said]


def test_one_slot_is_made_if_the_roofline_allows_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, moshi: Duplex
):
    L4.put(monkeypatch)
    caplog.set_level(logging.INFO, "model")
    assert slots(moshi) == 1
    [said] = caplog.messages
    assert (
        said
        == "L4 22.0 GiB: estimated too slow for one caller (limited by memory bandwidth): add --kv-cache-dtype int8"
    )


def test_requested_slots_are_made_if_they_fit(monkeypatch: pytest.MonkeyPatch, moshi: Duplex):
    L4.put(monkeypatch)
    assert slots(moshi, asked=3) == 3
    with pytest.raises(
        UnfitDevice, match=r"^L4 22\.0 GiB has 21\.6 GiB free.*not 4: lower --slots to 3, or add --kv-cache-dtype int8"
    ):
        slots(moshi, asked=4)
    replace(L4, free_gib=10).put(monkeypatch)
    with pytest.raises(UnfitDevice, match="too few for the weights"):
        slots(moshi)


def test_a_cpu_gets_the_default_number_of_slots(monkeypatch: pytest.MonkeyPatch, babble: Duplex, moshi: Duplex):
    cpu = torch.device("cpu")
    assert slots(babble, device=cpu) == 8
    assert slots(babble, asked=20, device=cpu) == 20
    pages = {"SC_PHYS_PAGES": 20 * GIB // 4096, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    assert slots(moshi, device=cpu) == 3
    with pytest.raises(UnfitDevice, match=r"^This machine \(cpu\) has 20\.0 GiB free.*not 8: lower --slots to 3"):
        slots(moshi, asked=8, device=cpu)


def test_auto_selects_a_gpu_if_there_is_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto").type == "cpu"
    L4.put(monkeypatch)
    assert find_device("auto").type == find_device("cuda").type == "cuda"
    assert find_device("cpu").type == "cpu"


def test_a_missing_gpu_is_explained_in_one_sentence(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    def complain() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040). Please update.")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", complain)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(UnfitDevice, match=r"too old for this PyTorch, which was built for CUDA 13\.0"):
        find_device("cuda")
    assert not caplog.messages
    assert find_device("auto").type == "cpu"  # with a warning, because the machine has a GPU
    assert "update the driver" in caplog.messages[0]
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UnfitDevice, match="no Apple GPU"):
        find_device("mps")


def test_an_old_chip_is_refused_in_bfloat16_only(monkeypatch: pytest.MonkeyPatch):
    Machine("Tesla T4", (7, 5)).put(monkeypatch)
    refuse_unfit(CUDA, torch.float16)
    with pytest.raises(UnfitDevice, match=r"Tesla T4.*too old for bfloat16"):
        refuse_unfit(CUDA, torch.bfloat16)
    refuse_unfit(torch.device("cpu"), torch.bfloat16)


def test_a_missing_compiler_is_reported_before_a_download(monkeypatch: pytest.MonkeyPatch):
    def build(driver: object) -> None:
        raise subprocess.CalledProcessError(1, ["gcc", "main.c"])

    runtime = pytest.importorskip("triton.runtime")
    refuse_no_compiler = kernels.refuse_no_compiler
    L4.put(monkeypatch)
    monkeypatch.setattr(kernels, "refuse_no_compiler", refuse_no_compiler)
    monkeypatch.setattr(type(runtime.driver), "active", property(build))
    refuse_unfit(torch.device("cpu"), torch.float32)
    with pytest.raises(UnfitDevice, match=r"apt install gcc libc6-dev python3-dev\): .*gcc"):
        refuse_unfit(CUDA, torch.bfloat16)
