"""What the model's own commands (bench, plan, precision, …) share: flags, their types, and printing to any terminal."""

from __future__ import annotations

import argparse
import sys
from io import TextIOWrapper

import torch

# The choices of --quantization and --kv-cache-dtype; None: the dtype that the model computes in.
DTYPES: dict[str, torch.dtype | None] = {"none": None, "auto": None, "int8": torch.int8}


def add_precision_flags(parser: argparse.ArgumentParser) -> None:
    """Add --quantization and --kv-cache-dtype, whose choices `DTYPES` knows."""
    group = parser.add_argument_group("precision")
    group.add_argument(
        "--quantization",
        choices=["none", "int8"],
        default="none",
        help="hold the language model's linear weights in int8 (default %(default)s)",
    )
    group.add_argument(
        "--kv-cache-dtype",
        choices=["auto", "int8"],
        default="auto",
        help="hold keys and values in int8; auto: in the model's dtype (default %(default)s)",
    )


def positive_int(text: str) -> int:
    """The type of a flag that takes a whole number from 1 on."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


positive_int.__name__ = "whole number"  # argparse: "invalid whole number value: 'x'"


def print_to_any_terminal() -> None:
    """Print "?" for characters that stdout's or stderr's encoding lacks, instead of failing after all the work."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # not what tests and notebooks put there
            stream.reconfigure(errors="replace")
