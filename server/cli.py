"""`parley serve | run | load | bench | plan`: where everything is put together.

Each subcommand lives in a module of its own, imported only when it is asked for: `load` and the echo need
no torch.
"""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import sys
from collections.abc import Sequence

import server
from server.logs import set_up_logging

_COMMANDS = {
    "serve": ("server.commands.serve", "answer calls: the web page and /api/chat"),
    "run": ("server.commands.run", "let the model answer a sound file"),
    "load": ("server.load", "call a server many times at once and measure"),
    "bench": ("model.bench", "measure a model's step on this machine, by callers"),
    "plan": ("model.plan", "say how many callers a GPU would hold, before you rent it"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The `parley` command. Returns the exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr does: a terminal may lack a character, or UTF-8
    try:
        parser = _parser(argv)
    except ImportError as error:  # the Opus library is not part of the Python packages
        print(f"parley: {error}", file=sys.stderr)
        return 1
    args = parser.parse_args(argv)
    set_up_logging(logging.DEBUG if args.verbose else logging.INFO)
    try:
        return args.run(args)
    except KeyboardInterrupt:
        return 130


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser; only the subcommand that `argv` names is imported and gets its flags."""
    parser = argparse.ArgumentParser(prog="parley", description=server.__doc__)
    parser.add_argument("--version", action="version", version=f"parley {server.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    chosen = next((argument for argument in argv if not argument.startswith("-")), None)
    for name, (module_name, summary) in _COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        command.add_argument("--verbose", action="store_true", help="log more")
        if name == chosen:
            module = importlib.import_module(module_name)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser
