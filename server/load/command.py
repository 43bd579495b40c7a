"""The command `parley load`: a run from the first call to the last file."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from server.audio.files import AudioFileError
from server.load.arguments import FORMS
from server.load.campaign import Campaign
from server.load.crowd import Habits
from server.load.display import Display
from server.load.plan import Plan, rising, search
from server.load.report import write_report
from server.load.results import NoResults, Results, read_json, results, write_csv, write_json
from server.load.server_metrics import Sampler
from server.load.speech import encoded_speech
from server.load.table import table
from server.load.workers import WorkerLost, Workers

HOLD_S = 20.0  # each step, when it is not said
CALLERS_PER_PROCESS = 200
WRITTEN = ("json", "csv", "html")
_SEARCHED = [1, 512]


def run(args: argparse.Namespace) -> int:
    """Make the calls and tell what came of them: 0 when every call was served to the end, or a number was found."""
    try:
        earlier = read_json(args.url) if isinstance(args.url, Path) else None
        other = read_json(args.against) if args.against else None
        speeches = [encoded_speech(path) for path in args.wav or [None]]  # before a file is opened, which empties it
        with ExitStack() as stack:
            files = {name: stack.enter_context(_opened(path)) for name in WRITTEN if (path := getattr(args, name))}
            figures = earlier or _figures(args, _habits(args, speeches))
            print(table(figures))
            for name, file in files.items():
                _write(name, file, figures, other)
    except (AudioFileError, NoResults, _NotWritable, WorkerLost) as error:
        print(f"parley load: {error}", file=sys.stderr)
        return 2
    if figures["interrupted"]:
        return 130
    is_good = figures["found"]["callers"] > 0 if figures["found"] else not figures["failed"]
    return 0 if is_good else 1


def _write(name: str, file: TextIO, figures: Results, other: Results | None) -> None:
    match name:
        case "json":
            write_json(file, figures)
        case "csv":
            write_csv(file, figures)
        case "html":
            write_report(file, figures, other)


def _habits(args: argparse.Namespace, speeches: Sequence[Sequence[list[bytes]]]) -> Habits:
    """What the callers do."""
    return Habits(
        url=args.url,
        talk=args.seconds,
        speeches=speeches,
        forms=FORMS[args.form],
        think=args.think,
        is_once=not (args.ramp or args.hold or args.find),
        faults=args.faults,
        headers={"Authorization": f"Bearer {args.token}"} if args.token else {},
    )


def _figures(args: argparse.Namespace, habits: Habits) -> Results:
    """The run itself, and its figures. Raises WorkerLost."""
    levels = args.ramp or (_SEARCHED if args.find else [args.callers])
    processes = args.workers or min(math.ceil(levels[-1] / CALLERS_PER_PROCESS), os.cpu_count() or 1)
    sampler = Sampler(habits.url, habits.headers)
    interrupted = False
    with Workers(habits, processes) as workers, Display() as display:
        workers.wait_until_ready()
        sampler.start()
        campaign = Campaign(workers, sampler, display.look)
        try:
            if habits.is_once:
                campaign.once(args.callers, habits.talk.longest_s)
            else:
                campaign.hold(_plan(args, levels), args.hold or HOLD_S, args.find)
        except KeyboardInterrupt:
            campaign.interrupt()
            interrupted = True
        sampler.stop()
    settings = {
        "url": args.url,
        "form": args.form,
        "seconds": str(args.seconds),
        "think_s": str(args.think),
        "processes": processes,
        "interrupted": interrupted,
    }
    return results(campaign, settings, args.find)


def _plan(args: argparse.Namespace, levels: list[int]) -> Plan:
    return search(levels[0], levels[-1]) if args.find else rising(levels)


class _NotWritable(Exception):
    """The message names the file and says why."""


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """A file to write to, opened before the run and not after it. Raises _NotWritable."""
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise _NotWritable(f"cannot write {path}: {error.strerror}") from error
    with file:
        yield file
