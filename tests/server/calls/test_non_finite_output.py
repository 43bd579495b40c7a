"""A call whose output becomes NaN or infinite, with a real model behind a real socket."""

from __future__ import annotations

import pytest

from server.engine.runner import Runner
from server.metrics import Count
from server.sessions.params import SessionParams
from tests.server.chat_client import open_chat, speech, wait_until
from tests.server.conftest import Serve

torch = pytest.importorskip("torch")

POISONED_SEED = 13


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Runner:
    """A small Moshi whose output is infinite for calls with `POISONED_SEED`."""
    from server.engine.model_runner import load_runner

    runner = load_runner("demo", 2, "cpu", "auto")
    start = runner.start

    def start_poisoned(slot: int, params: SessionParams) -> None:
        start(slot, params)
        if params.text_seed == POISONED_SEED:
            runner._state.decoder.upsample[slot] = torch.inf

    monkeypatch.setattr(runner, "start", start_poisoned)
    return runner


@pytest.mark.usefixtures("unpaced_engine")
async def test_call_with_non_finite_output_ends_alone_with_an_error_message(serve: Serve, runner: Runner):
    served = await serve(make_runner=lambda: runner)
    frames = speech(8)
    async with open_chat(f"{served.chat}?seed=1") as neighbour:
        await neighbour.handshake()
        async with open_chat(f"{served.chat}?events=1&seed={POISONED_SEED}") as failing:
            await failing.handshake()
            await neighbour.send_frame(frames[0])
            await failing.send_frame(frames[0])
            assert "NaN or infinity" in await failing.error()
            assert (await failing.event("end"))["reason"] == "broken"
            code, reason = await failing.wait_closed()
            assert code == 1011 and "call again" in reason
            assert failing.audio_messages == []
        await wait_until(lambda: served.service.running == 1)
        async with open_chat(f"{served.chat}?seed=2") as next_caller:  # in the same slot
            await next_caller.handshake()
            for frame in frames[1:]:
                await neighbour.send_frame(frame)
                await neighbour.receive_frame()
                await next_caller.send_frame(frame)
            await next_caller.receive_frame()
    await wait_until(lambda: served.service.running == 0)
    assert served.service.counts[Count.CALLS_NON_FINITE] == 1
    assert served.service.status == "ready"
