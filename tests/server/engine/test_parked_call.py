"""A call that was parked and taken up again says, to the bit, what it would have said without a break."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from server.audio.framing import FRAME_S, Pcm
from server.engine.bridge import OpenSession, Stepped
from server.engine.engine import Engine
from server.errors import ConnectionLost
from server.sessions.params import SessionParams
from server.sessions.session import Session
from tests.fakes import FakeBridge, FakeClock
from tests.server.chat_client import speech

pytest.importorskip("torch")

from model.checkpoints.random import write_checkpoint
from server.engine.model_runner import ModelRunner, load_runner

FRAMES = 20
Said = list[tuple[str, bytes]]  # frame by frame: the words and the sound


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> ModelRunner:
    directory: Path = tmp_path_factory.mktemp("babble")
    write_checkpoint(directory)
    return load_runner(str(directory), 2, "cpu", "auto")


class Pair:
    """Two callers on one engine, each with a seed."""

    def __init__(self, runner: ModelRunner) -> None:
        self.clock, self._bridge = FakeClock(), FakeBridge()
        self._engine = Engine(lambda: runner, self._bridge, self.clock)  # type: ignore[arg-type]
        self._engine.set_up(runner)
        self.first, self.second = (self._session(seed) for seed in (1, 2))
        self.said: dict[Session, Said] = {self.first: [], self.second: []}
        self._bridge.queued += [OpenSession(self.first), OpenSession(self.second)]

    def _session(self, seed: int) -> Session:
        session = Session(SessionParams(text_seed=seed, audio_seed=seed), self.clock, resume_s=20)
        session.open()
        session.greeted_at = self.clock.now()
        return session

    def hear(self, frames: dict[Session, Pcm]) -> None:
        """80 ms, and what is said in them."""
        for session, frame in frames.items():
            session.push_frame(frame)
        for _ in range(3):
            self._engine.tick()
        self.clock.advance(FRAME_S)
        for notice in (notice for post in self._bridge.posts for notice in post if isinstance(notice, Stepped)):
            for session, reply in notice.replies:
                sound = b"" if reply.pcm is None else np.ascontiguousarray(reply.pcm).tobytes()
                self.said[session].append((reply.piece, sound))
        self._bridge.posts.clear()


def test_a_parked_call_goes_on_to_the_bit(runner: ModelRunner):
    frames = speech(FRAMES)
    unbroken = Pair(runner)
    for frame in frames:
        unbroken.hear({unbroken.first: frame, unbroken.second: frame})

    broken = Pair(runner)
    for frame in frames[:9]:
        broken.hear({broken.first: frame, broken.second: frame})
    broken.first.park(ConnectionLost("gone"))
    for frame in frames[9:15]:  # the neighbour talks on, and minutes pass
        broken.hear({broken.second: frame})
    broken.clock.advance(120)
    broken.first.resume("token")
    for index in range(9, FRAMES):
        later = {broken.second: frames[index + 6]} if index + 6 < FRAMES else {}
        broken.hear({broken.first: frames[index], **later})

    before, after = unbroken.said[unbroken.first], broken.said[broken.first]
    assert len(before) == FRAMES and "".join(piece for piece, _ in before).strip()
    assert len({sound for _, sound in before}) > FRAMES / 2, "or there would be nothing to compare"
    assert after == before
    neighbour = broken.said[broken.second]
    assert neighbour[:FRAMES] == unbroken.said[unbroken.second]
