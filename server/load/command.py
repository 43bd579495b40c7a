"""The command `parley load`: its arguments, its run, its table."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tqdm import tqdm

from server.audio.framing import FRAME_S
from server.audio.wav import SoundFileError
from server.load.caller import Caller, CallRecord
from server.load.figures import GAP_S, LATE_MS, PLAYER_BUFFER_S, summary
from server.load.speech import encoded_speech
from server.wire.kyutai import AudioForm

_OWN_LATENESS_MS = 10.0  # beyond this the machine that measures is part of what is measured


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", type=_chat_url, metavar="http://HOST:PORT", help="the server to call")
    parser.add_argument("-n", dest="callers", type=_positive(int), default=1, help="callers at once (default: 1)")
    parser.add_argument(
        "-s", dest="seconds", type=_positive(float), default=10.0, help="seconds each one talks (default: 10)"
    )
    parser.add_argument("--wav", type=Path, metavar="F", help="what they say; invented speech by default")
    parser.add_argument("--json", type=Path, metavar="F", help="write the figures there too")
    parser.add_argument(
        "--form",
        type=AudioForm,
        choices=list(AudioForm),
        default=AudioForm.OGG,
        metavar="{ogg,raw}",
        help="Ogg pages of 80 ms as Kyutai's clients send, or raw packets of 20 ms as the page does (default: ogg)",
    )


def run(args: argparse.Namespace) -> int:
    """Make the calls and print what came of them. 0 when every caller was served to the end, else 1."""
    try:
        speech = encoded_speech(args.wav)
    except SoundFileError as error:
        print(f"parley load: {error}", file=sys.stderr)
        return 2
    try:
        figures_file = args.json.open("w", encoding="utf-8") if args.json else None  # before the run, not after it
    except OSError as error:
        print(f"parley load: cannot write {args.json}: {error.strerror}", file=sys.stderr)
        return 2
    calls = asyncio.run(_call_all(args.url, args.form, speech, args.callers, args.seconds))
    figures = {"url": args.url, "form": args.form.value, "seconds": args.seconds, **summary(calls)}
    print(_table(figures))
    if figures_file:
        with figures_file:
            figures_file.write(json.dumps(figures, indent=2) + "\n")
    return 1 if figures["failed"] else 0


async def _call_all(
    url: str, form: AudioForm, speech: list[list[bytes]], callers: int, seconds: float
) -> list[CallRecord]:
    """All calls at once, begun evenly over one frame, each at another place of the speech."""
    frames = max(1, round(seconds / FRAME_S))

    async def one(k: int) -> CallRecord:
        await asyncio.sleep(k * FRAME_S / callers)
        at = k * len(speech) // callers
        caller = Caller(url, form, speech[at:] + speech[:at], frames)
        await caller.talk(progress.update)
        return caller.record

    with tqdm(total=callers * frames, unit="frame", leave=False, disable=None) as progress:
        return await asyncio.gather(*map(one, range(callers)))


def _table(figures: dict[str, Any]) -> str:
    def spread(name: str) -> str:
        values = figures[name]
        if values["p50"] is None:
            return "-"
        return " · ".join(f"{key} {value:,.1f}" for key, value in values.items()) + " ms"

    late = figures["late_share"]
    rows = [
        ("calls", f"{figures['callers']} of {figures['seconds']:g} s, {figures['form']}, to {figures['url']}"),
        ("admitted", f"{figures['admitted']} of {figures['callers']}"),
        ("failed", str(figures["failed"])),
        *(("", f"{count} × {reason}") for reason, count in figures["failures"].items()),
        ("greeted after", spread("greeted_after_ms")),
        (
            "frames",
            f"{figures['frames_sent']:,} sent, {figures['frames_received']:,} received, "
            f"{figures['frames_missing']:,} missing",
        ),
        ("turnaround", spread("turnaround_ms")),
        (f"over {LATE_MS:.0f} ms", "-" if late is None else f"{late:.2%}"),
        ("gaps", f"{figures['packet_gaps']:,} over {GAP_S * 1e3:.0f} ms"),
        ("underruns", f"{figures['underruns']:,} with {PLAYER_BUFFER_S * 1e3:.0f} ms of buffer"),
        ("text", f"{figures['text_pieces']:,} pieces"),
        ("own lateness", spread("own_lateness_ms")),
    ]
    lines = [f"{name:<14} {value}" for name, value in rows]
    own_p99 = figures["own_lateness_ms"]["p99"]
    if own_p99 is not None and own_p99 > _OWN_LATENESS_MS:
        lines.append("This machine was itself too busy to keep the pace; the figures are not the server's alone.")
    return "\n".join(lines)


def _chat_url(text: str) -> str:
    """`http://HOST:PORT`, with or without the path, as the WebSocket address of /api/chat."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises when there can be no such port
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no address: {error}") from error
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    if scheme is None or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{text!r} is no address such as http://localhost:8998")
    path = parts.path.rstrip("/").removesuffix("/api/chat") + "/api/chat"
    return urlunsplit((scheme, parts.netloc, path, parts.query, ""))


def _positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return value

    number.__name__ = kind.__name__
    return number
