"""The cost of fewer bits: a language model's logits and tokens, and a codec's codes, compared with float32.

Every choice of dtypes gets the same columns as float32 (teacher-forced), and then a greedy call of its own. Knows no
speed: that is `model.bench`.

usage: python -m model.precision CHECKPOINT [--wav SPEECH.wav]     a checkpoint directory; 24 kHz, mono, 16 bits
       python -m model.precision --random-7b N                     random weights in the 7B's shapes
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
import tempfile
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from model.audio import FRAME_SAMPLES, SAMPLE_RATE_HZ
from model.checkpoints.build import build
from model.checkpoints.families import find
from model.checkpoints.family import Checkpoint
from model.checkpoints.files import in_directory
from model.checkpoints.random import shallow_7b, write_checkpoint
from model.command_line import positive_int, print_to_any_terminal
from model.errors import ModelError
from model.modes.duplex import Duplex
from model.network.mimi import Mimi
from model.state import nbytes, tensors, with_tensors

_CALLS = 4
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """The dtypes of a model: activations and everything else, linear weights, keys and values."""

    name: str
    dtype: torch.dtype
    weight_dtype: torch.dtype | None = None
    kv_dtype: torch.dtype | None = None


_INT8, _FP8 = torch.int8, torch.float8_e4m3fn
EXACT = NumberFormat("float32", torch.float32)
FORMATS = (
    NumberFormat("float32, int8 weights and kv", torch.float32, _INT8, _INT8),
    *(
        NumberFormat(f"bfloat16{name}", torch.bfloat16, weights, kv)
        for name, weights, kv in (
            ("", None, None),
            (", int8 weights", _INT8, None),
            (", fp8 weights", _FP8, None),
            (", int8 kv", None, _INT8),
            (", fp8 kv", None, _FP8),
            (", int8 weights and kv", _INT8, _INT8),
            (", fp8 weights and kv", _FP8, _FP8),
        )
    ),
)


@dataclass(frozen=True, slots=True)
class ReferenceCall:
    """S calls of T frames as the float32 model ran them."""

    heard: Tensor  # int64 [S, T, codebooks]
    columns: Tensor  # int64 [S, T, 1 + n_q], as the temporal transformer took them
    tokens: Tensor  # int64 [S, T, 1 + dep_q], as they were drawn: text first


@dataclass(frozen=True, slots=True)
class Difference:
    """How far a model's results are from float32's."""

    text: Tensor  # f32 [S, T]: KL divergence of each text distribution
    audio: Tensor  # f32 [S, T, dep_q]
    agreement: Tensor  # f32 [1 + dep_q]: how often the likeliest token is the same, text first
    same_frames: list[int]  # a call: greedy frames before the first that differs


def encode(mimi: Mimi, pcm: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Codes int64 [S, T, K] of pcm f32 [S, T · FRAME_SAMPLES], frame by frame as in a call.

    Everything before the quantizer, its state included, is in `dtype`.
    """
    narrow = mimi if dtype == torch.float32 else copy.deepcopy(mimi).to(dtype)
    state = narrow.make_encoder_state(len(pcm))
    held = [part.to(dtype) if part.is_floating_point() else part for part in tensors(state)]
    state, codes = with_tensors(state, iter(held)), []
    for frame in pcm.to(dtype).split(FRAME_SAMPLES, dim=1):
        x = narrow.encoder(frame[:, :, None], state.seanet, None)
        x = narrow.encoder_transformer(x, state.transformer, None)
        if narrow.downsample is not None:
            x = narrow.downsample(x, state.downsample, state.started, None)
        codes.append(mimi.quantizer.encode(x.float().flatten(0, 1)))
    return torch.stack(codes, 1)


def talk(duplex: Duplex, heard: Tensor, kv_dtype: torch.dtype | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    """Greedy calls on codes int64 [S, T, K]: each frame's column [S, 1 + n_q] and tokens [S, 1 + dep_q]."""
    slots, user_q = len(heard), duplex.config.user_q
    temporal, delays = duplex.temporal.make_state(slots, kv_dtype), duplex.delays.make_state(slots)
    for at, codes in enumerate(heard.unbind(1)):
        column = duplex.delays.push_heard(codes[:, :user_q], delays)
        hidden, logits = duplex.temporal(column[:, None], temporal, None, at)
        text = logits[:, 0].argmax(-1)
        audio = duplex.depth.generate(text, hidden[:, 0], lambda logits, _: logits.argmax(-1))
        duplex.delays.push_spoken(text, audio, delays, None)
        yield column, torch.cat([text[:, None], audio], dim=1)


def logits(duplex: Duplex, call: ReferenceCall, kv_dtype: torch.dtype | None = None) -> list[Tensor]:
    """The logits of every stream [S, T, vocabulary], text first, given float32's tokens."""
    slots, frames, _ = call.columns.shape
    hidden, text = duplex.temporal(call.columns, duplex.temporal.make_state(slots, kv_dtype), None, 0)
    said = call.tokens.flatten(0, 1)
    audio: list[Tensor] = []

    def teach(logits: Tensor, codebook: int) -> Tensor:
        audio.append(logits.unflatten(0, (slots, frames)))
        return said[:, 1 + codebook]

    duplex.depth.generate(said[:, 0], hidden.flatten(0, 1), teach)
    return [text, *audio]


def compare(duplex: Duplex, kv_dtype: torch.dtype | None, call: ReferenceCall, exact: list[Tensor]) -> Difference:
    """A model against the float32 `call` and its `logits`."""
    pairs = list(zip(exact, logits(duplex, call, kv_dtype), strict=True))
    divergences = [divergence(*pair) for pair in pairs]
    agreement = torch.stack([(ours.argmax(-1) == theirs.argmax(-1)).float().mean() for ours, theirs in pairs])
    same, going = [0] * len(call.heard), torch.ones(len(call.heard), dtype=torch.bool)
    for at, (_, tokens) in enumerate(talk(duplex, call.heard, kv_dtype)):
        going &= (tokens == call.tokens[:, at]).all(-1)
        if not going.any():
            break
        same = [count + int(goes) for count, goes in zip(same, going, strict=True)]
    return Difference(divergences[0], torch.stack(divergences[1:], -1), agreement, same)


def divergence(exact: Tensor, other: Tensor) -> Tensor:
    """KL divergence in nats of softmax(other) from softmax(exact), both [..., V]: f32 [...]."""
    p, q = (F.log_softmax(logits.double(), dim=-1) for logits in (exact, other))
    return (p.exp() * (p - q)).sum(-1).clamp(min=0).float()


@torch.inference_mode()
def table(checkpoint: Checkpoint, pcm: Tensor) -> Iterator[str]:
    """The lines of the two tables; pcm f32 [S, T · FRAME_SAMPLES], T no more than the context."""
    duplex, _ = build(checkpoint, _CPU, EXACT.dtype)
    if pcm.shape[1] > duplex.config.temporal.context * FRAME_SAMPLES:
        raise ValueError(f"The model's window holds {duplex.config.temporal.context} frames: lower --frames.")
    mimi, heard = duplex.mimi, encode(duplex.mimi, pcm)
    columns, tokens = zip(*talk(duplex, heard), strict=True)
    call = ReferenceCall(heard, torch.stack(columns, 1), torch.stack(tokens, 1))
    exact = logits(duplex, call)
    yield f"{len(pcm)} calls of {heard.shape[1]} frames; KL divergence in nats, mean / largest."
    yield ""
    yield (
        "| numbers | weights, MB | kv a call, MB | KL text | KL audio | likeliest text the same | of each codebook "
        "| frames before greedy tokens differ |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    yield f"| {EXACT.name} | {_sizes(duplex, EXACT)} | 0 | 0 | 100 % | 100 % | never |"
    del duplex
    for numbers in FORMATS:
        model, _ = build(checkpoint, _CPU, numbers.dtype, weight_dtype=numbers.weight_dtype)
        error = compare(model, numbers.kv_dtype, call, exact)
        text, *audio = (f"{100 * share:.1f}" for share in error.agreement.tolist())
        yield (
            f"| {numbers.name} | {_sizes(model, numbers)} | {_spread(error.text)} | {_spread(error.audio)} "
            f"| {text} % | {' '.join(audio)} % | {', '.join(map(str, error.same_frames))} |"
        )
    yield ""
    yield "| Mimi before its quantizer in | codes equal, by codebook |"
    yield "|---|---|"
    for dtype in (torch.bfloat16, torch.float16):
        shares = (encode(mimi, pcm, dtype) == heard).float().mean((0, 1))
        yield f"| {_name(dtype)} | {' '.join(f'{100 * share:.2f}' for share in shares.tolist())} % |"


def _sizes(duplex: Duplex, numbers: NumberFormat) -> str:
    """Two cells: megabytes of the language model's weights, and of one call's keys and values."""
    weights = sum(parameter.nbytes for part in (duplex.temporal, duplex.depth) for parameter in part.parameters())
    return f"{weights / 1e6:.1f} | {nbytes(duplex.temporal.make_state(1, numbers.kv_dtype).rings) / 1e6:.2f}"


def _spread(divergences: Tensor) -> str:
    return f"{divergences.mean():.2g} / {divergences.max():.2g}"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def speech(path: Path | None, frames: int) -> Tensor:
    """Sound for every call, f32 [S, frames · FRAME_SAMPLES]: a file cut into parts, or a made-up voice in pauses."""
    samples = frames * FRAME_SAMPLES
    if path is None:
        time_s = torch.arange(samples) / SAMPLE_RATE_HZ
        pitch_hz = 110 + 35 * torch.arange(_CALLS)[:, None]
        phase = 2 * math.pi * (pitch_hz * time_s + 8 * torch.sin(2.3 * time_s))
        voice = sum(torch.sin(phase * harmonic) / harmonic for harmonic in range(1, 12))
        hiss = torch.rand(_CALLS, samples, generator=torch.Generator().manual_seed(0)) - 0.5
        return 0.15 * (voice + hiss) * torch.sin(4 * time_s + pitch_hz).clamp(min=0)
    with wave.open(str(path)) as file:
        form = file.getframerate(), file.getnchannels(), file.getsampwidth()
        if form != (SAMPLE_RATE_HZ, 1, 2):
            raise ValueError(f"{path} is not 24 kHz, mono, 16 bits.")
        pcm = torch.frombuffer(bytearray(file.readframes(_CALLS * samples)), dtype=torch.int16) / 32768
    return F.pad(pcm, (0, _CALLS * samples - len(pcm))).view(_CALLS, samples)


def main() -> None:
    print_to_any_terminal()
    parser = argparse.ArgumentParser(prog="python -m model.precision", description="The cost of fewer bits.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("checkpoint", type=Path, nargs="?", metavar="CHECKPOINT", help="a checkpoint directory")
    source.add_argument(
        "--random-7b", type=positive_int, metavar="N", help="random weights in the 7B's shapes, N layers"
    )
    parser.add_argument(
        "--wav", type=Path, metavar="PATH", help="callers' speech, 24 kHz, mono, 16 bits (default: synthetic)"
    )
    parser.add_argument(
        "--frames", type=positive_int, metavar="N", default=200, help="of each call (default %(default)s)"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        if args.random_7b:
            write_checkpoint(Path(made), shallow_7b(args.random_7b), dtype=torch.bfloat16)
        try:
            checkpoint = find(in_directory(args.checkpoint or Path(made)))
            for line in table(checkpoint, speech(args.wav, args.frames)):
                print(line, flush=True)
        except (ModelError, OSError, ValueError, wave.Error) as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
