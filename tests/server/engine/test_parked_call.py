"""A call that was parked and resumed produces, bit for bit, what it produces without a break."""

from __future__ import annotations

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

from server.engine.model_runner import ModelRunner, load_runner

FRAMES = 20
Replies = list[tuple[str, bytes]]  # per frame: the text piece and the PCM bytes


@pytest.fixture(scope="module")
def runner(random_checkpoint: str) -> ModelRunner:
    return load_runner(random_checkpoint, 2, "cpu", "auto")


class TwoCalls:
    """Two sessions on one engine, each with its own seed."""

    def __init__(self, runner: ModelRunner) -> None:
        self.clock, self._bridge = FakeClock(), FakeBridge()
        self._engine = Engine(lambda: runner, self._bridge, self.clock)  # type: ignore[arg-type]
        self._engine.set_up(runner)
        self.first, self.second = (self._session(seed) for seed in (1, 2))
        self.replies: dict[Session, Replies] = {self.first: [], self.second: []}
        self._bridge.queued += [OpenSession(self.first), OpenSession(self.second)]

    def _session(self, seed: int) -> Session:
        session = Session(SessionParams(text_seed=seed, audio_seed=seed), self.clock, resume_s=20)
        session.open()
        session.ready_at = self.clock.now()
        return session

    def step(self, frames: dict[Session, Pcm]) -> None:
        """Step one frame of each session in `frames`; collect the replies."""
        for session, frame in frames.items():
            session.push_frame(frame)
        for _ in range(3):
            self._engine.tick()
        self.clock.advance(FRAME_S)
        for notice in (notice for post in self._bridge.posts for notice in post if isinstance(notice, Stepped)):
            for session, reply in notice.replies:
                sound = b"" if reply.pcm is None else np.ascontiguousarray(reply.pcm).tobytes()
                self.replies[session].append((reply.piece, sound))
        self._bridge.posts.clear()


def test_parked_call_resumes_bit_for_bit(runner: ModelRunner):
    frames = speech(FRAMES)
    undisturbed = TwoCalls(runner)
    for frame in frames:
        undisturbed.step({undisturbed.first: frame, undisturbed.second: frame})

    interrupted = TwoCalls(runner)
    for frame in frames[:9]:
        interrupted.step({interrupted.first: frame, interrupted.second: frame})
    interrupted.first.park(ConnectionLost("gone"))
    for frame in frames[9:15]:  # the other call continues, and two minutes pass
        interrupted.step({interrupted.second: frame})
    interrupted.clock.advance(120)
    interrupted.first.resume("token")
    for index in range(9, FRAMES):
        later = {interrupted.second: frames[index + 6]} if index + 6 < FRAMES else {}
        interrupted.step({interrupted.first: frames[index], **later})

    before, after = undisturbed.replies[undisturbed.first], interrupted.replies[interrupted.first]
    assert len(before) == FRAMES and "".join(piece for piece, _ in before).strip()
    assert len({sound for _, sound in before}) > FRAMES / 2, "the model produces distinct frames"
    assert after == before
    neighbour = interrupted.replies[interrupted.second]
    assert neighbour[:FRAMES] == undisturbed.replies[undisturbed.second]
