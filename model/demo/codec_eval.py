"""Measure the codec's quality and speed, coding frame by frame as in a call.

usage: python -m model.demo.codec_eval DIR

Prints how many of the model's answers an independent recogniser (pocketsphinx, with a grammar of the answers)
recognises before and after coding, the log-mel distance between the two, the entropy of each codebook, how many
phonemes the semantic code alone predicts for trained and unseen voices, and the time for a frame on one core.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.audio import FRAME_SAMPLES, SAMPLE_RATE_HZ
from model.command_line import print_to_any_terminal
from model.demo.codec_losses import SpectralDistance
from model.demo.codes import decode, encode, load_codec
from model.demo.conversation import BACKCHANNEL, answers, ask
from model.demo.recogniser import Recogniser
from model.demo.speech import CALLER_VOICES, HELD_OUT_VOICES, MODEL_VOICE, Utterance, Voice, Waveform, augment, say
from model.demo.topics import TOPICS
from model.network.mimi import Mimi

_CALLS, _TIMED_FRAMES = 240, 200
_TAIL_FRAMES = 2  # the codec's output decays after the voice ends


def main(argv: list[str] | None = None) -> int:
    print_to_any_terminal()
    parser = argparse.ArgumentParser(prog="python -m model.demo.codec_eval", description=__doc__)
    parser.add_argument("codec", type=Path, help="directory of mimi.safetensors and mimi_config.json")
    mimi = load_codec(parser.parse_args(argv).codec)
    torch.set_num_threads(1)
    print("| what | figure |\n|---|---|")
    for what, figure in (*model_voice(mimi), *codebooks(mimi), *speed(mimi)):
        print(f"| {what} | {figure} |", flush=True)
    return 0


def model_voice(mimi: Mimi) -> list[tuple[str, str]]:
    """Rows: answers recognised before and after coding, and the distance between the two sounds."""
    texts = [text for text in answers() if text != BACKCHANNEL]
    recogniser, distance = Recogniser(texts), SpectralDistance()
    heard, heard_coded, levels_db = 0, 0, []
    for text in texts:
        sound = framed([say(text, MODEL_VOICE).pcm])
        coded = decode(mimi, encode(mimi, sound))
        heard += recogniser.hear(sound[0]) == text
        heard_coded += recogniser.hear(coded[0]) == text
        apart = distance.log_mel(torch.from_numpy(sound)) - distance.log_mel(torch.from_numpy(coded))
        levels_db.append(20 / np.log(10) * apart.square().mean(1).sqrt().mean().item())
    return [
        ("answers recognised in the original sound", f"{heard} of {len(texts)}"),
        ("answers recognised after coding", f"{heard_coded} of {len(texts)}"),
        ("log-mel distance after coding", f"{np.mean(levels_db):.1f} dB"),
    ]


def codebooks(mimi: Mimi) -> list[tuple[str, str]]:
    """Rows: entropy of each codebook for callers' speech, and phonemes predicted from the semantic code."""
    phonemes_of, tests = {}, {}
    codes, sounding = _caller_codes(mimi, CALLER_VOICES, seed=0)
    bins = mimi.config.quantizer.bins
    spread = [_entropy_bits(np.bincount(codes[:, k], minlength=bins)) for k in range(codes.shape[1])]
    for code, phoneme in zip(codes[:, 0].tolist(), sounding, strict=True):
        phonemes_of.setdefault(code, []).append(phoneme)
    best = {code: max(set(heard), key=heard.count) for code, heard in phonemes_of.items()}
    for name, voices, noisy in (
        ("trained voices", CALLER_VOICES, False),
        ("unseen voices", HELD_OUT_VOICES, False),
        ("unseen voices as in a call", HELD_OUT_VOICES, True),
    ):
        codes, sounding = _caller_codes(mimi, voices, seed=1, noisy=noisy)
        right = [best.get(code) == phoneme for code, phoneme in zip(codes[:, 0].tolist(), sounding, strict=True)]
        tests[name] = f"{np.mean(right):.0%}"
    return [
        (f"entropy of the codebooks, of {np.log2(bins):.0f} bits", " ".join(f"{bits:.1f}" for bits in spread)),
        *((f"phoneme predicted from the semantic code alone, {name}", figure) for name, figure in tests.items()),
    ]


def speed(mimi: Mimi) -> list[tuple[str, str]]:
    """Row: time to encode and decode one frame of one call."""
    hearing, speaking = mimi.make_encoder_state(1), mimi.make_decoder_state(1)
    frame = torch.randn(1, FRAME_SAMPLES, generator=torch.Generator().manual_seed(0)) * 0.1
    taken_ms = []
    with torch.inference_mode():
        for _ in range(_TIMED_FRAMES):
            start_s = time.perf_counter()
            mimi.decode(mimi.encode(frame, hearing, None), speaking, None)
            taken_ms.append((time.perf_counter() - start_s) * 1e3)
    middle, late = np.percentile(taken_ms, [50, 95])
    return [("a frame, encoded and decoded, on one core", f"{middle:.1f} ms p50, {late:.1f} ms p95")]


def framed(sounds: Sequence[Waveform]) -> NDArray[np.float32]:
    """A batch of sounds in whole frames, with one frame of silence before (it is not coded) and some after each."""
    frames = 1 + max(-(-len(sound) // FRAME_SAMPLES) for sound in sounds) + _TAIL_FRAMES
    batch = np.zeros((len(sounds), frames * FRAME_SAMPLES), np.float32)
    for row, sound in zip(batch, sounds, strict=True):
        row[FRAME_SAMPLES : FRAME_SAMPLES + len(sound)] = sound
    return batch


def _caller_codes(
    mimi: Mimi, voices: Sequence[Voice], *, seed: int, noisy: bool = False
) -> tuple[NDArray[np.int16], list[str]]:
    """Codes [N, K] of the frames of callers' sentences, and the phoneme at the middle of each frame."""
    rng = np.random.default_rng(seed)
    spoken = [
        say(ask(TOPICS[int(rng.integers(len(TOPICS)))], rng), voices[int(rng.integers(len(voices)))])
        for _ in range(_CALLS)
    ]
    sounds = [augment(utterance.pcm, rng) if noisy else utterance.pcm for utterance in spoken]
    codes = encode(mimi, framed(sounds))
    frames = [len(utterance.pcm) // FRAME_SAMPLES for utterance in spoken]
    kept = [row[1 : 1 + count] for row, count in zip(codes, frames, strict=True)]
    sounding = [_phoneme(u, frame) for u, count in zip(spoken, frames, strict=True) for frame in range(count)]
    return np.concatenate(kept), sounding


def _phoneme(utterance: Utterance, frame: int) -> str:
    middle_s = (frame + 0.5) * FRAME_SAMPLES / SAMPLE_RATE_HZ
    return next((symbol for symbol, start, end in utterance.phonemes if start <= middle_s < end), "")


def _entropy_bits(counts: NDArray[np.int64]) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())


if __name__ == "__main__":
    sys.exit(main())
