"""Where a run keeps its files, what it calls on, and how it says where it is."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from model.checkpoints.random import write_checkpoint


@dataclass(frozen=True)
class Workbench:
    """A directory that lives as long as the run."""

    directory: Path

    def file(self, name: str) -> Path:
        return self.directory / name

    @cached_property
    def checkpoint(self) -> Path:
        """The small random model that a laptop's core steps with ease, in float32."""
        self.say("writing a small random checkpoint")
        directory = self.file("checkpoint")
        write_checkpoint(directory)
        return directory

    def say(self, what: str) -> None:
        print(f"bench: {what}", file=sys.stderr, flush=True)
