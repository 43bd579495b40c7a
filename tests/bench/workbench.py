"""What the parts share: a directory, the checkpoint, and progress messages."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from model.checkpoints.random import write_checkpoint


@dataclass(frozen=True)
class Workbench:
    """`directory` exists as long as the run."""

    directory: Path

    def file(self, name: str) -> Path:
        return self.directory / name

    @cached_property
    def checkpoint(self) -> Path:
        """A small random model, which one core of a laptop steps in real time in float32."""
        self.say("writing a small random checkpoint")
        directory = self.file("checkpoint")
        write_checkpoint(directory)
        return directory

    def say(self, message: str) -> None:
        print(f"bench: {message}", file=sys.stderr, flush=True)
