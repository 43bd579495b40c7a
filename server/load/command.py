"""The command `parley load`: a run from the first call to the last file."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from server.audio.wav import SoundFileError
from server.load.arguments import FORMS
from server.load.campaign import Campaign
from server.load.crowd import Habits
from server.load.display import Display
from server.load.plan import Plan, rising, search
from server.load.results import Results, results, write_csv, write_json
from server.load.server_metrics import Sampler
from server.load.speech import encoded_speech
from server.load.table import table
from server.load.workers import WorkerLost, Workers

HOLD_S = 20.0  # each step, when it is not said
CALLERS_PER_PROCESS = 200
_SEARCHED = [1, 512]
_WRITERS = {"json": write_json, "csv": write_csv}


def run(args: argparse.Namespace) -> int:
    """Make the calls and tell what came of them: 0 when every call was served to the end, or a number was found."""
    with ExitStack() as open_files:
        try:
            habits = _habits(args)
            files = {
                name: open_files.enter_context(_opened(getattr(args, name))) for name in _WRITERS if getattr(args, name)
            }
        except (SoundFileError, _NotWritable) as error:
            return _complain(str(error))
        try:
            figures, is_whole = _figures(args, habits)
        except WorkerLost:
            return _complain("a process of callers ended by itself; was it killed?")
        print(table(figures))
        for name, file in files.items():
            _WRITERS[name](file, figures)
    if not is_whole:
        return 130
    is_good = figures["found"]["callers"] > 0 if figures["found"] else not figures["failed"]
    return 0 if is_good else 1


def _habits(args: argparse.Namespace) -> Habits:
    """What the callers do. Raises SoundFileError."""
    return Habits(
        url=args.url,
        talk=args.seconds,
        speeches=[encoded_speech(path) for path in args.wav or [None]],
        forms=FORMS[args.form],
        think=args.think,
        is_once=not (args.ramp or args.hold or args.find),
        faults=args.faults,
        headers={"Authorization": f"Bearer {args.token}"} if args.token else {},
    )


def _figures(args: argparse.Namespace, habits: Habits) -> tuple[Results, bool]:
    """The run itself; its figures, and whether it came to its end. Raises WorkerLost."""
    levels = args.ramp or (_SEARCHED if args.find else [args.callers])
    processes = args.workers or min(math.ceil(levels[-1] / CALLERS_PER_PROCESS), os.cpu_count() or 1)
    sampler = Sampler(habits.url, habits.headers)
    is_whole = True
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
            is_whole = False
        sampler.stop()
        ended_at = time.perf_counter()
    settings = {
        "url": args.url,
        "form": args.form,
        "seconds": str(args.seconds),
        "think_s": str(args.think),
        "processes": processes,
    }
    return results(campaign, settings, args.find, ended_at), is_whole


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


def _complain(sentence: str) -> int:
    print(f"parley load: {sentence}", file=sys.stderr)
    return 2
