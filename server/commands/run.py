"""`parley run`: answer an audio file with the model, without a server, and write its speech, text and tokens.

The same frames go through the same runner as in a call, so the files hold what a client would have received.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import save_file
from tqdm import tqdm

from server.audio.files import AudioFileError, read_audio, write_wav
from server.audio.framing import FRAME_SAMPLES
from server.engine.batch import Batch
from server.hub.resolve import ModelUnavailable
from server.sessions.params import SessionParams

if TYPE_CHECKING:
    from server.engine.model_runner import ModelRunner


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `parley run`."""
    parser.usage = "%(prog)s [OPTIONS] PATH"
    parser.add_argument("input", metavar="PATH", type=Path, help="audio file to answer, with any rate and channels")

    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        metavar="NAME",
        default="demo",
        help="checkpoint directory, Hugging Face repo id, or demo (default: %(default)s)",
    )
    devices = ["auto", "cpu", "cuda", "mps"]
    model.add_argument("--device", choices=devices, default="auto", help="device to run on (default: %(default)s)")
    model.add_argument(
        "--dtype",
        choices=["auto", "float32", "bfloat16", "float16"],
        default="auto",
        help="data type to compute in; auto: bfloat16 on a GPU, float32 on a CPU (default: %(default)s)",
    )

    sampling = parser.add_argument_group("sampling")
    sampling.add_argument("--greedy", action="store_true", help="always choose the most likely token")
    sampling.add_argument(
        "--seed", metavar="N", type=int, default=0, help="seed; the same seed repeats a run (default: %(default)s)"
    )

    output = parser.add_argument_group("output")
    output.add_argument("--out-wav", metavar="PATH", type=Path, help="write the model's speech as WAV, 24 kHz mono")
    output.add_argument("--out-text", metavar="PATH", type=Path, help="write the model's text (default: print it)")
    output.add_argument(
        "--out-tokens",
        metavar="PATH",
        type=Path,
        help="write the input's codes [K, T] and the model's tokens [T', 1 + dep_q] as safetensors",
    )


def run(args: argparse.Namespace) -> int:
    """Answer one file. Returns the exit status: 0, 1 for a failure, 2 for an invalid flag."""
    from server.engine.model_runner import load_runner

    sampling: dict[str, float] = {"text_seed": args.seed, "audio_seed": args.seed}
    if args.greedy:
        sampling |= {"text_temperature": 0.0, "audio_temperature": 0.0}
    for path in filter(None, (args.out_wav, args.out_text, args.out_tokens)):
        if not path.parent.is_dir():  # an error now, not after an hour of computing
            return _fail(1, f"cannot write {path}: no directory {path.parent}.")
    try:
        pcm = read_audio(args.input)
        SessionParams.model_validate(sampling)
        runner = load_runner(args.model, 1, args.device, args.dtype)
    except ValidationError:
        return _fail(2, "--seed must be from 0 to 2^63 - 1.")
    except (AudioFileError, ModelUnavailable) as error:
        return _fail(1, str(error))
    if len(pcm) < FRAME_SAMPLES:
        return _fail(1, f"{args.input} is shorter than one frame of 80 ms.")
    for sentence in filter(None, (runner.card.notice, runner.card.advice)):
        print(sentence, file=sys.stderr)
    runner.start(0, SessionParams.model_validate({**runner.card.params, **sampling}))
    try:
        write_output(args, run_model(runner, pcm))
    except (OSError, SafetensorError, AudioFileError) as error:
        return _fail(1, str(error))
    return 0


def _fail(status: int, message: str) -> int:
    print(f"parley: {message}", file=sys.stderr)
    return status


@dataclass(frozen=True, slots=True)
class RunOutput:
    """The model's output for a whole file."""

    pcm: NDArray[np.float32]  # [T' · FRAME_SAMPLES]
    text: str
    codes: NDArray[np.int32]  # [K, T], of the input
    tokens: NDArray[np.int32]  # [T', 1 + dep_q], of the output, text first; T' is T minus the longest delay


def run_model(runner: ModelRunner, pcm: NDArray[np.float32]) -> RunOutput:
    """Step slot 0 of `runner` through `pcm` f32 [n], without a partial last frame."""
    frames = pcm[: len(pcm) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    active = np.ones(1, np.bool_)
    steps, pieces = [], []
    for frame in tqdm(frames, desc="Running", unit="frame", disable=None):
        step, text = runner.speak(Batch(frame[None], active))
        steps.append(step)
        pieces += text
    spoken = [step for step in steps if step.spoken[0]]
    return RunOutput(
        np.concatenate([step.pcm[0] for step in spoken]) if spoken else np.zeros(0, np.float32),
        "".join(pieces).strip(),
        np.stack([step.codes[0] for step in steps], axis=1).astype(np.int32),
        np.array([step.tokens[0] for step in spoken], np.int32).reshape(len(spoken), steps[0].tokens.shape[1]),
    )


def write_output(args: argparse.Namespace, output: RunOutput) -> None:
    """Write the files that `args` names, and print the text if none is for it.

    Raises OSError, SafetensorError, AudioFileError.
    """
    if args.out_wav:
        write_wav(args.out_wav, output.pcm)
    if args.out_tokens:
        save_file({"codes": np.ascontiguousarray(output.codes), "tokens": output.tokens}, args.out_tokens)
    if args.out_text:
        args.out_text.write_text(output.text + "\n", encoding="utf-8")
    else:
        print(output.text)
