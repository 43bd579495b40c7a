"""The `parley` command: serve, run, load, bench and plan.

Each subcommand has its own module, which is imported only if it is chosen: `load` and `serve --model echo` need no
torch.
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
    "serve": ("server.commands.serve", "serve calls and the web page"),
    "run": ("server.commands.run", "answer an audio file with the model, without a server"),
    "load": ("server.load", "load-test a server with many calls at once"),
    "bench": ("model.bench", "measure the time of a model's step on this machine"),
    "plan": ("model.plan", "estimate how many calls a GPU can hold"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The `parley` command. Returns the exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: terminals lack characters
    try:
        parser = _parser(argv)
    except ImportError as error:  # libopus is not a Python package
        print(f"parley: {error}", file=sys.stderr)
        return 1
    args = parser.parse_args(argv)
    set_up_logging(logging.DEBUG if args.verbose else logging.INFO)
    try:
        return args.run(args)
    except KeyboardInterrupt:
        return 130


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser. Only the subcommand that `argv` names is imported and gets its flags."""
    parser = argparse.ArgumentParser(
        prog="parley",
        usage="%(prog)s [OPTIONS] COMMAND ...",
        description=server.__doc__,
        epilog="`parley COMMAND --help` describes the flags of a command.",
    )
    parser.add_argument("--version", action="version", version=f"parley {server.__version__}")
    commands = parser.add_subparsers(title="commands", prog="parley", required=True, metavar="COMMAND")
    chosen = next((argument for argument in argv if not argument.startswith("-")), None)
    for name, (module_name, summary) in _COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        command.add_argument("--verbose", action="store_true", help="log debug messages too")
        if name == chosen:
            module = importlib.import_module(module_name)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser
