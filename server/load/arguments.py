"""The arguments of `parley load`. What their words mean is in `choices.py`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from server.dialects.kyutai_protocol import AudioForm
from server.load import choices
from server.load.choices import Bar
from server.load.troubles import Faults

FORMS = {"ogg": (AudioForm.OGG,), "raw": (AudioForm.RAW,), "both": (AudioForm.OGG, AudioForm.RAW)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whom to call, how, and what to keep of it."""
    _add_call(parser)
    _add_crowd(parser.add_argument_group("for longer, and for more and more callers"))
    out = parser.add_argument_group("to keep")
    out.add_argument("--json", type=Path, metavar="F", help="all figures")
    out.add_argument("--csv", type=Path, metavar="F", help="the figures of each second")
    out.add_argument("--html", type=Path, metavar="F", help="a report with plots, in one file")
    out.add_argument("--against", type=Path, metavar="F", help="an earlier run's JSON, to be shown beside it there")


def _add_call(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "url",
        type=choices.target,
        metavar="http://HOST:PORT",
        help="the server to call; or the JSON of an earlier run, to make its report again",
    )
    parser.add_argument(
        "-n", dest="callers", type=choices.positive(int), default=1, help="callers at once (default: 1)"
    )
    parser.add_argument(
        "-s",
        dest="seconds",
        type=choices.talk,
        default=choices.talk("10"),
        metavar="SECONDS",
        help="how long a call is: 30, or 10..60, or a mix as 5..20,60..300 (default: 10)",
    )
    parser.add_argument("--wav", type=Path, action="append", metavar="F", help="what they say; may be given repeatedly")
    parser.add_argument(
        "--form",
        choices=FORMS,
        default="ogg",
        help="Ogg pages of 80 ms as Kyutai's clients send, raw packets of 20 ms"
        " as the page does, or every other caller so (default: ogg)",
    )
    token = os.environ.get("PARLEY_TOKEN")
    parser.add_argument("--token", default=token, help="for a server that asks for one (or PARLEY_TOKEN)")


def _add_crowd(crowd: argparse._ArgumentGroup) -> None:
    crowd.add_argument(
        "--hold",
        type=choices.positive(float),
        metavar="SECONDS",
        help="call again and again until then; with --ramp or --find, for each step (default there: 20)",
    )
    crowd.add_argument(
        "--think",
        type=choices.mix,
        default=choices.mix("0"),
        metavar="SECONDS",
        help="between two calls of a caller, told as -s is (default: 0)",
    )
    crowd.add_argument(
        "--ramp",
        type=choices.ramp,
        metavar="A..B",
        help="so many callers, doubling; A..B..STEP in steps",
    )
    crowd.add_argument(
        "--find",
        type=choices.bar,
        nargs="?",
        const=Bar(),
        metavar="BAR",
        help="find the most callers that the server holds at p99=MS,late=PERCENT (p99=80,late=1), within --ramp",
    )
    crowd.add_argument(
        "--faults",
        type=choices.faults,
        default=Faults(),
        metavar="LIST",
        help="what befalls every other caller: loss=PERCENT, and a minute's stall=, drop=, reconnect= (which goes on"
        " with the conversation if the address ends in ?events=1)",
    )
    crowd.add_argument(
        "--workers", type=choices.positive(int), help="processes that call (default: one for each 200 callers)"
    )
