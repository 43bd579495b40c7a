"""`parley run`: let the model answer a sound file, without a server, and keep what it said.

The same frames through the same runner as in a call, so that what is written is what a caller would have got.
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
    parser.add_argument("input", metavar="INPUT.wav", type=Path, help="what the model hears; any rate, any channels")
    parser.add_argument("--model", default="demo", help="checkpoint directory, Hugging Face repo id, or demo (default)")
    parser.add_argument("--greedy", action="store_true", help="take the likeliest token every time")
    parser.add_argument("--seed", type=int, default=0, help="repeat a run by its seed (default 0)")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], default="auto", help="where to run")
    parser.add_argument(
        "--dtype", choices=["auto", "float32", "bfloat16", "float16"], default="auto", help="its numbers"
    )
    parser.add_argument("--out-wav", metavar="F", type=Path, help="write what it says, 24 kHz mono")
    parser.add_argument("--out-text", metavar="F", type=Path, help="write what it thinks (default: to the terminal)")
    parser.add_argument("--out-tokens", metavar="F", type=Path, help="write codes [K, T] and tokens [T', 1 + dep_q]")


def run(args: argparse.Namespace) -> int:
    """Run one file through the model; the process's exit status."""
    from server.engine.model_runner import load_runner

    choices = {"text_seed": args.seed, "audio_seed": args.seed}
    if args.greedy:
        choices |= {"text_temperature": 0.0, "audio_temperature": 0.0}
    for path in filter(None, (args.out_wav, args.out_text, args.out_tokens)):
        if not path.parent.is_dir():  # said before the model has listened for an hour
            print(f"parley: cannot write {path}: there is no directory {path.parent}.", file=sys.stderr)
            return 1
    try:
        pcm = read_audio(args.input)
        SessionParams.model_validate(choices)
        runner = load_runner(args.model, 1, args.device, args.dtype)
    except ValidationError:
        print("parley: --seed must be a number from 0 to 2⁶³ - 1.", file=sys.stderr)
        return 2
    except (AudioFileError, ModelUnavailable) as error:
        print(f"parley: {error}", file=sys.stderr)
        return 1
    if len(pcm) < FRAME_SAMPLES:
        print(f"parley: {args.input} is shorter than one frame of 80 ms.", file=sys.stderr)
        return 1
    if runner.card.notice:
        print(runner.card.notice, file=sys.stderr)
    runner.start(0, SessionParams.model_validate({**runner.card.params, **choices}))
    try:
        write(args, answer(runner, pcm))
    except (OSError, SafetensorError, AudioFileError) as error:
        print(f"parley: {error}", file=sys.stderr)
        return 1
    return 0


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole file's answer, in the shapes that `--out-tokens` writes."""

    pcm: NDArray[np.float32]  # [T' · FRAME_SAMPLES]
    text: str
    codes: NDArray[np.int32]  # [K, T], heard
    tokens: NDArray[np.int32]  # [T', 1 + dep_q], spoken, text first; T' is T less the delay between streams


def answer(runner: ModelRunner, pcm: NDArray[np.float32]) -> Answer:
    """Everything that slot 0 of `runner` says to f32 [n]; a last, partial frame is left out."""
    frames = pcm[: len(pcm) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    active = np.ones(1, np.bool_)
    pieces, said = [], []
    for frame in tqdm(frames, desc="Listening", unit="frame", disable=None):
        spoken, text = runner.speak(Batch(frame[None], active))
        said.append(spoken)
        pieces += text
    out = [spoken for spoken in said if spoken.spoken[0]]
    return Answer(
        np.concatenate([spoken.pcm[0] for spoken in out]) if out else np.zeros(0, np.float32),
        "".join(pieces).strip(),
        np.stack([spoken.codes[0] for spoken in said], axis=1).astype(np.int32),
        np.array([spoken.tokens[0] for spoken in out], np.int32).reshape(len(out), said[0].tokens.shape[1]),
    )


def write(args: argparse.Namespace, answered: Answer) -> None:
    """Write what was asked for. Raises OSError, AudioFileError."""
    if args.out_wav:
        write_wav(args.out_wav, answered.pcm)
    if args.out_tokens:
        save_file({"codes": np.ascontiguousarray(answered.codes), "tokens": answered.tokens}, args.out_tokens)
    if args.out_text:
        args.out_text.write_text(answered.text + "\n", encoding="utf-8")
    else:
        print(answered.text)
