"""One well-behaved caller of a real, small Moshi, whose tokens are written down as the model chooses them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np

from model.checkpoints.random import write_checkpoint
from server.engine.batch import Batch, StepResult
from server.engine.model_runner import ModelRunner, load_runner
from server.engine.runner import Pending
from tests.chaos.caller import Ledger
from tests.server.chat_client import open_chat, speech
from tests.server.conftest import RunningServer

SEED = 4711  # nobody else's
MOVES_EVERY_FRAMES = 10


class Witness:
    """A runner that remembers what one caller was told."""

    def __init__(self, directory: Path, slots: int) -> None:
        """`directory` takes a checkpoint of random weights, which have something to say to everything."""
        write_checkpoint(directory)
        self.runner = load_runner(str(directory), slots, "cpu", "float32")
        self.tokens: list[list[int]] = []
        self.company = 0  # the most callers that were stepped with it
        self.moved = 0  # times, to another line
        self.runner.submit = self._submit  # type: ignore[method-assign]

    def plain(self) -> ModelRunner:
        """The runner as it was."""
        del self.runner.submit
        return self.runner

    def _submit(self, batch: Batch) -> Pending:
        said, pieces = self.runner.speak(batch)
        for slot in np.flatnonzero(batch.active):
            params = self.runner._params[slot]
            if params and params.text_seed == SEED:
                self.tokens.append(said.tokens[slot].tolist())
                self.company = max(self.company, int(batch.active.sum()) - 1)
        result = StepResult(said.pcm, said.spoken, pieces, np.ones(len(batch.active), np.bool_), len(batch.active))
        return lambda: result

    async def converse(
        self,
        served: RunningServer,
        frames: int,
        while_running: asyncio.Task[Ledger] | None = None,
        frames_in_all: int = 0,
    ) -> list[list[int]]:
        """Say `frames` over and over, each once the one before was answered; the tokens.

        Once, or until `frames_in_all` were said, or for as long as something runs beside. Moves to another line, which
        takes the call over, again and again.
        """
        self.tokens, self.company = [], 0
        sounds = speech(frames)
        at, query = 0, f"?events=1&seed={SEED}"
        async with AsyncExitStack() as lines:
            while at < max(frames, frames_in_all) or (while_running and not while_running.done()):
                client = await lines.enter_async_context(open_chat(served.chat + query))
                await client.handshake()
                query = f"?events=1&resume={(await client.event('ready'))['resume']}"
                self.moved += at > 0
                for _ in range(MOVES_EVERY_FRAMES):
                    await client.send_frame(sounds[at % frames])
                    if at:  # to the first one nothing is said: the delays fill
                        await client.receive_frame()
                    at += 1
        return self.tokens
