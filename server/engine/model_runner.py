"""A model as a `Runner`: the only module of the server that imports torch and `model`.

Numpy arrays come in and go out. Between them a stepper runs one step over the smallest view of the state that holds
every live slot. Changes of slots reach the device in the order in which they are asked for. Owner: engine thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from model.audio import FRAME_SAMPLES
from model.checkpoints.build import build, meta_model_of
from model.checkpoints.families import find
from model.command_line import DTYPES
from model.errors import CheckpointNotFound, ModelError
from model.execution.stepper import make_stepper
from model.hardware.device import default_dtype, find_device, memory_in_use, refuse_unfit, resolve_slots
from model.modes.duplex import Duplex, DuplexFrame, DuplexInputs
from model.network.sampling import COMMON_PLAN, SamplingPlan
from model.state import clear_row_, copy_row_
from model.tokenizer import TextStream, Tokenizer
from server.engine.batch import Batch, StepResult, buckets
from server.engine.runner import DeviceMemory, ModelCard, Pending
from server.errors import BadParameter
from server.hub.resolve import ModelUnavailable, Resolve, resolver
from server.sessions.params import SessionParams
from server.settings import SLOTS_WITHOUT_GPU, KvCacheDtype, Quantization

DEMO = "demo"
DEMO_NOTICE = "This demo model knows a few dozen phrases; it is not Moshi."
DEMO_EXAMPLES = ("What is your name?", "Tell me a joke.", "What is the capital of France?")
DEMO_ADVICE = (
    "To serve Moshi on a 24 GB GPU: "
    "parley serve --model kyutai/moshiko-pytorch-bf16 --quantization int8 --kv-cache-dtype int8"
)
_DEMO_CHECKPOINT = files("model.demo") / "checkpoint"


@dataclass(frozen=True, slots=True)
class TokenFrame:
    """One step's frame as numpy arrays: that of `StepResult`, and the tokens behind it."""

    pcm: NDArray[np.float32]  # [rows, FRAME_SAMPLES]
    spoken: NDArray[np.bool_]  # [rows]
    tokens: NDArray[np.int64]  # [rows, 1 + dep_q], text first
    codes: NDArray[np.int64]  # [rows, codebooks], of the frame heard


def load_runner(
    model: str,
    slots: int | Literal["auto"],
    device: str,
    dtype: str,
    quantization: Quantization = "none",
    kv_cache_dtype: KvCacheDtype = "auto",
) -> ModelRunner:
    """Find, download if need be, and load a model. Raises `ModelUnavailable` with a sentence for the operator.

    `model` is a checkpoint directory, a Hugging Face repo id (perhaps with @revision) or "demo". `device` and
    `dtype` may be "auto": a CUDA GPU if there is one, else the CPU; bfloat16 on a GPU and float32 on a CPU. `slots`
    may be "auto" too: what fits. Whether they fit is decided before anything is loaded.
    """
    demo = model == DEMO
    remedy = _remedy(quantization, kv_cache_dtype)
    try:
        on = find_device(device)
        compute_dtype = default_dtype(on) if dtype == "auto" else getattr(torch, dtype)
        refuse_unfit(on, compute_dtype)
        weight_dtype, kv_dtype = DTYPES[quantization], DTYPES[kv_cache_dtype]
        checkpoint = find(_checked(resolver(str(_DEMO_CHECKPOINT) if demo else model)))
        name, notice = ("Parley demo", DEMO_NOTICE) if demo else (Path(model).name, "")
        sampling = SessionParams.recommended(checkpoint.sampling)
        meta_model = meta_model_of(checkpoint, compute_dtype, weight_dtype)
        examples, advice = (DEMO_EXAMPLES, DEMO_ADVICE) if demo else ((), "")
        card = ModelCard(name, demo, notice, sampling, examples, advice, meta_model.config.max_delay)
        asked = None if slots == "auto" else slots
        count = resolve_slots(on, meta_model, kv_dtype, asked, default=SLOTS_WITHOUT_GPU, remedy=remedy)
        with tqdm(total=checkpoint.nbytes, desc="Loading", unit="B", unit_scale=True, leave=False, disable=None) as bar:
            duplex, tokenizer = build(checkpoint, on, compute_dtype, bar.update, weight_dtype)
        return ModelRunner(duplex, tokenizer, count, card, kv_dtype)
    except ModelError as error:
        raise ModelUnavailable(str(error)) from error
    except BadParameter as error:
        raise ModelUnavailable(f"Invalid sampling defaults in the checkpoint: {error}") from error
    except RuntimeError as error:  # torch.OutOfMemoryError is one; a CPU's allocator has none of its own
        if not _is_out_of_memory(error):
            raise
        raise ModelUnavailable(
            f"{model} with {slots} slots does not fit into this machine's memory: lower --slots, since each slot holds "
            f"a conversation's keys and values, or {remedy}."
        ) from error


class ModelRunner:
    """A `Duplex` and the state of its slots."""

    def __init__(
        self, duplex: Duplex, tokenizer: Tokenizer, slots: int, card: ModelCard, kv_dtype: torch.dtype | None = None
    ):
        """Keys and values are held in `kv_dtype`; None: the dtype that the model computes in."""
        self.card = card
        self.slots = slots
        self._tokenizer = tokenizer
        self._state = duplex.make_state(slots, kv_dtype)
        self._texts = [TextStream(tokenizer) for _ in range(slots)]
        self._params: list[SessionParams | None] = [None] * slots
        self._frame_counts = np.zeros(slots, np.int64)  # how many each slot has heard
        self._plan = COMMON_PLAN  # of most callers, and so warmed up
        self._stepper = make_stepper(duplex, self._state, buckets(slots))

    def warm_up(self) -> None:
        """Step every batch size twice: the first frame and the next take different paths."""
        for count in buckets(self.slots):
            for _ in range(2):
                self.submit(Batch(np.zeros((count, FRAME_SAMPLES), np.float32), np.ones(count, np.bool_)))()
        for slot in range(self.slots):
            self.stop(slot)

    @torch.inference_mode()
    def start(self, slot: int, params: SessionParams) -> None:
        """Make a slot fresh and set a caller's parameters."""
        clear_row_(self._state, slot)
        choices = self._state.sampling
        choices.text_temperature[slot] = params.text_temperature
        choices.text_top_k[slot] = params.text_topk
        choices.audio_temperature[slot] = params.audio_temperature
        choices.audio_top_k[slot] = params.audio_topk
        choices.text_seed[slot] = params.text_seed
        choices.audio_seed[slot] = params.audio_seed
        choices.pad_bonus[slot] = params.pad_mult
        choices.penalty[slot] = params.repetition_penalty
        choices.penalty_span[slot] = params.repetition_penalty_context
        self._assign(slot, params)

    @torch.inference_mode()
    def stop(self, slot: int) -> None:
        """Clear a slot whose call has ended."""
        clear_row_(self._state, slot)
        self._assign(slot, None)

    @torch.inference_mode()
    def move(self, source: int, target: int) -> None:
        """Continue a call in another slot."""
        copy_row_(self._state, source, target)
        text, frames = self._texts[source], self._frame_counts[source]
        self._assign(target, self._params[source])
        self._texts[target], self._frame_counts[target] = text, frames
        self.stop(source)

    def _assign(self, slot: int, params: SessionParams | None) -> None:
        self._texts[slot] = TextStream(self._tokenizer)
        self._frame_counts[slot] = 0
        self._params[slot] = params
        self._plan = _plan([params for params in self._params if params])

    def submit(self, batch: Batch) -> Pending:
        """Begin one frame for every active row."""
        frame = self._begin(batch)

        def result() -> StepResult:
            ended, computed = frame(), self._stepper.computes(torch.from_numpy(batch.active))
            pcm, spoken, finite = ended.pcm.numpy(), ended.spoken.numpy(), ended.finite.numpy()
            return StepResult(pcm, spoken, self._pieces(ended), finite, computed)

        return result

    def speak(self, batch: Batch) -> tuple[TokenFrame, list[str]]:
        """Run one frame for every active row, down to the tokens."""
        frame = self._begin(batch)()
        said = TokenFrame(frame.pcm.numpy(), frame.spoken.numpy(), frame.tokens.numpy(), frame.input_codes.numpy())
        return said, self._pieces(frame)

    def _begin(self, batch: Batch) -> Callable[[], DuplexFrame]:
        frame_counts = self._frame_counts[: len(batch.active)]
        longest = int(frame_counts.max())
        frame_counts += batch.active
        return self._stepper.begin(
            DuplexInputs(torch.from_numpy(batch.pcm)), torch.from_numpy(batch.active), self._plan, longest
        )

    def _pieces(self, frame: DuplexFrame) -> list[str]:
        texts = zip(self._texts, frame.tokens[:, 0].tolist(), frame.spoken.tolist(), strict=False)
        return [text.push(token) if spoke else "" for text, token, spoke in texts]

    def device_memory(self) -> DeviceMemory | None:
        """How much of the GPU torch holds; None without a GPU."""
        found = memory_in_use(self._state.sampling.text_seed.device)
        return DeviceMemory(*found) if found else None

    def close(self) -> None:
        """Nothing to give back but memory, which goes with the runner."""


def _plan(params: list[SessionParams]) -> SamplingPlan:
    """What all callers' parameters have in common."""
    return SamplingPlan(
        greedy=all(p.text_temperature == 0 and p.audio_temperature == 0 for p in params),
        unbounded=any(p.text_topk == 0 or p.audio_topk == 0 for p in params),
        penalised=any(p.repetition_penalty != 1 for p in params),
        padded=any(p.pad_mult != 0 for p in params),
    )


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Whether memory ran out; CUDA's "illegal memory access" is another error."""
    return any(words in str(error) for words in ("out of memory", "allocate memory", "ALLOC_FAILED"))


def _remedy(quantization: Quantization, kv_cache_dtype: KvCacheDtype) -> str:
    """What would need less memory than these choices."""
    chosen = {"--quantization": quantization, "--kv-cache-dtype": kv_cache_dtype}
    flags = [f"{flag} int8" for flag, choice in chosen.items() if choice != "int8"]
    return f"add {' '.join(flags)}" if flags else "take a smaller model"


def _checked(resolve: Resolve) -> Resolve:
    """The same resolver with `model`'s error for a missing file."""

    def checked(name: str) -> Path:
        try:
            return resolve(name)
        except FileNotFoundError as error:
            raise CheckpointNotFound(str(error)) from error

    return checked
