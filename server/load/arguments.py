"""The flags of `parley load`. Their values are parsed in `argument_types.py`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from server.dialects.kyutai_protocol import AudioForm
from server.load import argument_types
from server.load.argument_types import ServiceTarget
from server.load.faults import FaultRates

FORMS = {"ogg": (AudioForm.OGG,), "raw": (AudioForm.RAW,), "both": (AudioForm.OGG, AudioForm.RAW)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the address and all flags, in groups."""
    parser.add_argument(
        "url",
        type=argument_types.url_or_results,
        metavar="URL",
        help="the server to call, such as http://localhost:8998; or an earlier run's JSON file, to report on it again",
    )
    _add_calls(parser.add_argument_group("calls"))
    _add_audio(parser.add_argument_group("audio"))
    _add_load_steps(parser.add_argument_group("load steps"))
    _add_output(parser.add_argument_group("output"))


def _add_calls(calls: argparse._ArgumentGroup) -> None:
    calls.add_argument(
        *("-n", "--callers"),
        type=argument_types.positive(int),
        default=1,
        metavar="N",
        help="number of callers at the same time (default: 1)",
    )
    calls.add_argument(
        *("-s", "--seconds"),
        type=argument_types.call_length,
        default=argument_types.call_length("10"),
        metavar="SECONDS",
        help="length of a call: 30, a range such as 10..60, or a mix such as 5..20,60..300 (default: 10)",
    )
    calls.add_argument(
        "--think",
        type=argument_types.duration_mix,
        default=argument_types.duration_mix("0"),
        metavar="SECONDS",
        help="pause between two calls of a caller, written like --seconds (default: 0)",
    )
    calls.add_argument(
        "--token", default=os.environ.get("PARLEY_TOKEN"), help="the server's access token (default: $PARLEY_TOKEN)"
    )
    calls.add_argument(
        "--faults",
        type=argument_types.fault_rates,
        default=FaultRates(),
        metavar="RATES",
        help="faults injected into every second caller: loss=PERCENT, and stall=, drop= and reconnect= as times per"
        " minute (a caller that reconnects resumes its conversation if the address ends in ?events=1)",
    )


def _add_audio(audio: argparse._ArgumentGroup) -> None:
    audio.add_argument(
        "--wav",
        type=Path,
        action="append",
        metavar="PATH",
        help="sound file that callers send; repeat the flag for more than one file (default: synthetic speech)",
    )
    audio.add_argument(
        "--form",
        choices=FORMS,
        default="ogg",
        help="how audio is sent: ogg is an Ogg page every 80 ms, as Kyutai's client does; raw is an Opus packet every"
        " 20 ms, as the web page does; both alternates between callers (default: ogg)",
    )


def _add_load_steps(steps: argparse._ArgumentGroup) -> None:
    steps.add_argument(
        "--ramp",
        type=argument_types.ramp,
        metavar="N..N",
        help="raise the number of callers from the first to the second number by doubling, or in steps: N..N..STEP",
    )
    steps.add_argument(
        "--find",
        type=argument_types.service_target,
        nargs="?",
        const=ServiceTarget(),
        metavar="TARGET",
        help="search within --ramp for the most callers that the server sustains at p99=MS,late=PERCENT"
        " (default target: p99=80,late=1; default ramp: 1..512)",
    )
    steps.add_argument(
        "--hold",
        type=argument_types.positive(float),
        metavar="SECONDS",
        help="repeat calls for this long; with --ramp or --find, in each load step (default there: 20)",
    )
    steps.add_argument(
        "--workers",
        type=argument_types.positive(int),
        metavar="N",
        help="number of processes that call (default: one for every 200 callers)",
    )


def _add_output(output: argparse._ArgumentGroup) -> None:
    output.add_argument("--json", type=Path, metavar="PATH", help="write all figures")
    output.add_argument("--csv", type=Path, metavar="PATH", help="write the figures of each second")
    output.add_argument("--html", type=Path, metavar="PATH", help="write a report with plots, in one file")
    output.add_argument(
        "--against", type=Path, metavar="PATH", help="an earlier run's JSON file, to compare with in the report"
    )
