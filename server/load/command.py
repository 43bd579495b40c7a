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
from server.load.display import Display
from server.load.html_report import write_html
from server.load.load_plan import LoadPlan, rising, search
from server.load.load_run import LoadRun
from server.load.results import InvalidResults, Results, read_json, results, write_csv, write_json
from server.load.server_metrics import MetricsSampler
from server.load.speech import encoded_speech
from server.load.text_report import text_report
from server.load.workers import WorkerLost, Workers
from server.load.workload import Workload

DEFAULT_HOLD_S = 20.0  # of each load step
CALLERS_PER_PROCESS = 200
OUTPUTS = ("json", "csv", "html")
_DEFAULT_SEARCH = [1, 512]


def run(args: argparse.Namespace) -> int:
    """Make the calls and report on them. 0: every call was served to the end, or a search found a number of callers."""
    try:
        earlier = read_json(args.url) if isinstance(args.url, Path) else None
        other = read_json(args.against) if args.against else None
        speeches = [encoded_speech(path) for path in args.wav or [None]]  # before output files are opened and emptied
        with ExitStack() as stack:
            files = {name: stack.enter_context(_opened(path)) for name in OUTPUTS if (path := getattr(args, name))}
            figures = earlier or _measure(args, _workload(args, speeches))
            print(text_report(figures))
            for name, file in files.items():
                _write(name, file, figures, other)
    except (AudioFileError, InvalidResults, _NotWritable, WorkerLost) as error:
        print(f"parley load: {error}", file=sys.stderr)
        return 2
    if figures["interrupted"]:
        return 130
    is_good = figures["search"]["callers"] > 0 if figures["search"] else not figures["failed"]
    return 0 if is_good else 1


def _write(name: str, file: TextIO, figures: Results, other: Results | None) -> None:
    match name:
        case "json":
            write_json(file, figures)
        case "csv":
            write_csv(file, figures)
        case "html":
            write_html(file, figures, other)


def _workload(args: argparse.Namespace, speeches: Sequence[Sequence[list[bytes]]]) -> Workload:
    return Workload(
        url=args.url,
        call_length=args.seconds,
        speeches=speeches,
        forms=FORMS[args.form],
        think_time=args.think,
        is_single=not (args.ramp or args.hold or args.find),
        faults=args.faults,
        headers={"Authorization": f"Bearer {args.token}"} if args.token else {},
    )


def _measure(args: argparse.Namespace, workload: Workload) -> Results:
    """The run itself, and its figures. Raises WorkerLost."""
    levels = args.ramp or (_DEFAULT_SEARCH if args.find else [args.callers])
    processes = args.workers or min(math.ceil(levels[-1] / CALLERS_PER_PROCESS), os.cpu_count() or 1)
    sampler = MetricsSampler(workload.url, workload.headers)
    interrupted = False
    with Workers(workload, processes) as workers, Display() as display:
        workers.wait_until_ready()
        sampler.start()
        load_run = LoadRun(workers, sampler, display.update)
        try:
            if workload.is_single:
                load_run.run_once(args.callers, workload.call_length.longest_s)
            else:
                load_run.run_plan(_plan(args, levels), args.hold or DEFAULT_HOLD_S, args.find)
        except KeyboardInterrupt:
            load_run.interrupt()
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
    return results(load_run, settings, args.find)


def _plan(args: argparse.Namespace, levels: list[int]) -> LoadPlan:
    return search(levels[0], levels[-1]) if args.find else rising(levels)


class _NotWritable(Exception):
    """An output file cannot be written; the message names it and says why."""


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """An output file, opened before the run rather than after it. Raises _NotWritable."""
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise _NotWritable(f"cannot write {path}: {error.strerror}") from error
    with file:
        yield file
