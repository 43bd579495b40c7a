"""Valid calls over a real socket, in both audio forms and with every parameter."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from dataclasses import replace

import numpy as np
import pytest

from server.dialects.kyutai_protocol import AudioForm
from server.metrics import Count
from server.sessions import pacing
from tests.fakes import TalkingRunner
from tests.server.calls.neighbour import expected_echo
from tests.server.chat_client import open_chat, speech, wait_until
from tests.server.conftest import Serve


@pytest.mark.usefixtures("unpaced_engine")
@pytest.mark.parametrize("form", AudioForm)
async def test_echo_call_returns_the_audio_in_the_clients_form(serve: Serve, form: AudioForm):
    served = await serve()
    frames = speech(20)
    async with open_chat(served.chat, form) as client:
        await client.handshake()
        for frame in frames:
            await client.send_frame(frame)
            await client.receive_frame()  # the reply to this frame: each frame has one
        assert client.audio_messages == expected_echo(frames, form)
        assert not client.events and not client.errors


@pytest.mark.usefixtures("unpaced_engine")
async def test_audio_sent_before_the_handshake_is_discarded(serve: Serve):
    served = await serve(slots=1)
    frames = speech(3)
    async with open_chat(served.chat) as first:
        await first.handshake()
        async with open_chat(served.chat + "?events=1") as second:
            assert (await second.event("queue"))["position"] == 1
            for _ in range(5):
                await second.send_frame(np.ones_like(frames[0]))
            await second.socket.ping()
            await first.socket.close()
            await second.handshake()
            await second.send_frame(frames[0])
            await second.receive_frame()
            await wait_until(lambda: served.service.metrics.counts[Count.SESSIONS_ENDED] == 1)
            session = next(iter(served.service.calls.admission))
            assert session.counts[Count.FRAMES] == 1


async def test_each_text_piece_is_one_message(serve: Serve):
    served = await serve(make_runner=lambda: TalkingRunner(2))
    async with open_chat(served.chat) as client:
        await client.handshake()
        for frame in speech(3):
            await client.send_frame(frame)
            await client.receive_frame()
        assert client.texts[:3] == [" word"] * 3


async def test_ready_event_has_the_seed_that_repeats_the_call(serve: Serve):
    runner = TalkingRunner(2)
    served = await serve(make_runner=lambda: runner)
    async with open_chat(served.chat + "?events=1") as client:
        random = await client.event("ready")
    async with open_chat(
        served.chat + f"?events=1&seed={random['seed']}&text_temperature=0.5&audio_seed=9&colour=red"
    ) as client:
        repeated = await client.event("ready")
    (_, first), (_, second) = runner.started
    assert first.text_seed == first.audio_seed == random["seed"] == repeated["seed"] == second.text_seed
    assert (second.audio_seed, second.text_temperature) == (9, 0.5)
    assert random["call"] != repeated["call"] and random["resume"] != repeated["resume"]


async def test_model_defaults_apply_to_parameters_the_client_leaves_out(serve: Serve):
    runner = TalkingRunner(2)
    runner.card = replace(runner.card, params={"text_temperature": 0.3, "audio_topk": 40})
    served = await serve(make_runner=lambda: runner)
    async with open_chat(served.chat + "?text_temperature=0.5") as client:
        await client.handshake()
        with await asyncio.to_thread(urllib.request.urlopen, served.http + "/api/info") as response:
            assert json.load(response)["params"] == {"text_temperature": 0.3, "audio_topk": 40}
    [(_, params)] = runner.started
    assert (params.text_temperature, params.audio_topk, params.audio_temperature) == (0.5, 40, 0.8)


@pytest.mark.usefixtures("unpaced_engine")
async def test_call_ends_with_1000_after_max_steps(serve: Serve):
    served = await serve()
    async with open_chat(served.chat + "?events=1&max_steps=126") as client:
        await client.handshake()
        for frame in speech(126):
            await client.send_frame(frame)
            await client.receive_frame()
        assert (await client.event("limit"))["left_s"] == 10
        assert (await client.event("end"))["reason"] == "limit"
        code, reason = await client.wait_closed()
        assert (code, client.errors) == (1000, []) and reason
    await wait_until(lambda: served.service.running == 0)


@pytest.mark.usefixtures("short_watch_interval")
async def test_stats_are_sent_only_to_clients_that_ask_for_events(serve: Serve):
    served = await serve()
    async with open_chat(served.chat + "?events=1") as asking, open_chat(served.chat) as plain:
        for client in (asking, plain):
            await client.handshake()
            await client.send_frame(speech(1)[0])
            await client.receive_frame()
        stats = await asking.event("stats")
        assert stats["step_ms"] >= 0 and stats["wait_ms"] >= 0
        await plain.send_frame(speech(1)[0])
        await plain.receive_frame()
        assert plain.events == []


async def test_muted_microphone_is_filled_with_silence(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pacing, "SILENCE_AFTER_S", 0.05)
    served = await serve()
    async with open_chat(served.chat) as client:
        await client.handshake()
        await client.send_frame(speech(1)[0])
        await client.receive_frame()
        silence = [
            await client.receive_frame() for _ in range(5)
        ]  # the client sends nothing more, and the call continues
        assert np.abs(silence[-1]).max() < 0.01


@pytest.mark.usefixtures("short_watch_interval")
async def test_client_is_pinged_while_nothing_else_is_sent(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("server.calls.registry.KEEP_ALIVE_AFTER_S", 0.02)
    served = await serve()
    async with open_chat(served.chat) as client:
        await client.handshake()
        assert await client._receive() == await client._receive() == b"\6"


async def test_info_describes_the_model_and_the_load(serve: Serve):
    served = await serve(slots=3)
    async with open_chat(served.chat) as client:
        await client.handshake()
        with await asyncio.to_thread(urllib.request.urlopen, served.http + "/api/info") as response:
            info = json.load(response)
    expected = {"name": "Parley", "model": "echo", "demo": True, "sample_rate_hz": 24000, "frame_ms": 80}
    assert expected.items() <= info.items()
    assert (info["slots"], info["running"], info["waiting"], info["voices"]) == (3, 1, 0, [])
    assert info["prompts"] == []
    assert info["limits"]["first_audio_s"] == 30
