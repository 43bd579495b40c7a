"""One well-behaved caller of a real, small Moshi, whose tokens are recorded as the model samples them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np

from model.checkpoints.random import write_checkpoint
from server.engine.batch import Batch, StepResult
from server.engine.model_runner import ModelRunner, load_runner
from server.engine.runner import Pending
from tests.chaos.caller import CallTally
from tests.server.chat_client import open_chat, speech
from tests.server.conftest import RunningServer

SEED = 4711  # of no other caller
FRAMES_PER_CONNECTION = 10


class ControlCaller:
    """A runner that records one caller's tokens, and that caller."""

    def __init__(self, directory: Path, slots: int) -> None:
        """Writes a checkpoint of random weights into `directory`; they answer any input."""
        write_checkpoint(directory)
        self.runner = load_runner(str(directory), slots, "cpu", "float32")
        self.tokens: list[list[int]] = []
        self.company = 0  # the most other callers in a step with it
        self.moves = 0  # to another connection
        self.runner.submit = self._submit  # type: ignore[method-assign]

    def plain(self) -> ModelRunner:
        """The runner without the recording."""
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
        while_running: asyncio.Task[CallTally] | None = None,
        frames_in_all: int = 0,
    ) -> list[list[int]]:
        """Send `frames` repeatedly, each after the previous one was answered. Returns the tokens.

        Sends them once, or until `frames_in_all` were sent, or for as long as `while_running`. Every
        FRAMES_PER_CONNECTION frames, another connection takes the call over.
        """
        self.tokens, self.company = [], 0
        sounds = speech(frames)
        at, query = 0, f"?events=1&seed={SEED}"
        async with AsyncExitStack() as connections:
            while at < max(frames, frames_in_all) or (while_running and not while_running.done()):
                client = await connections.enter_async_context(open_chat(served.chat + query))
                await client.handshake()
                query = f"?events=1&resume={(await client.event('ready'))['resume']}"
                self.moves += at > 0
                for _ in range(FRAMES_PER_CONNECTION):
                    await client.send_frame(sounds[at % frames])
                    if at:  # the first one has no answer: the delays fill
                        await client.receive_frame()
                    at += 1
        return self.tokens
