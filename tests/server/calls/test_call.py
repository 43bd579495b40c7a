"""Calls as they should go, over a real socket: the echo comes back, in either form, and is told what it asked for."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from dataclasses import replace

import numpy as np
import pytest

from server.audio.framing import FrameAssembler, Pcm
from server.audio.opus import OpusDecoder, OpusEncoder
from server.dialects.kyutai_protocol import AudioForm, AudioReceived, KyutaiProtocol
from server.metrics import Count
from server.sessions import pacing
from tests.fakes import TalkingRunner
from tests.server.conftest import Serve
from tests.server.phone import dial, speech, until


def echo_of(frames: list[Pcm], form: AudioForm) -> list[bytes]:
    """The audio messages that an undisturbed echo of `frames` sends, worked out without a server."""
    theirs, ours = KyutaiProtocol(form), KyutaiProtocol()
    encoder, decoder, assembler, answer = OpusEncoder(), OpusDecoder(), FrameAssembler(), OpusEncoder()
    messages: list[bytes] = []
    for frame in frames:
        for message in theirs.audio(encoder.encode(frame)):
            for event in ours.receive(message):
                assert isinstance(event, AudioReceived)
                for packet in event.packets:
                    for heard in assembler.push(decoder.decode(packet)):
                        messages += ours.audio(answer.encode(heard))
    return messages


@pytest.mark.usefixtures("patient_engine")
@pytest.mark.parametrize("form", AudioForm)
async def test_the_echo_is_the_callers_voice_in_the_form_it_came(serve: Serve, form: AudioForm):
    served = await serve()
    frames = speech(20)
    async with dial(served.chat, form) as phone:
        await phone.greeting()
        for frame in frames:
            await phone.say(frame)
            await phone.hear()  # the reply to this very frame: one comes for each, at once
        assert phone.audio_messages == echo_of(frames, form)
        assert not phone.events and not phone.errors


@pytest.mark.usefixtures("patient_engine")
async def test_audio_from_before_the_greeting_is_not_heard(serve: Serve):
    served = await serve(slots=1)
    frames = speech(3)
    async with dial(served.chat) as first:
        await first.greeting()
        async with dial(served.chat + "?events=1") as second:
            assert (await second.event("queue"))["position"] == 1
            for _ in range(5):
                await second.say(np.ones_like(frames[0]))
            await second.socket.ping()
            await first.socket.close()
            await second.greeting()
            await second.say(frames[0])
            await second.hear()
            await until(lambda: served.service.metrics.counts[Count.SESSIONS_ENDED] == 1)
            session = next(iter(served.service.calls.admission))
            assert session.counts[Count.FRAMES] == 1


async def test_words_come_one_piece_a_message(serve: Serve):
    served = await serve(make_runner=lambda: TalkingRunner(2))
    async with dial(served.chat) as phone:
        await phone.greeting()
        for frame in speech(3):
            await phone.say(frame)
            await phone.hear()
        assert phone.texts[:3] == [" word"] * 3


async def test_ready_tells_the_seed_that_repeats_the_call(serve: Serve):
    runner = TalkingRunner(2)
    served = await serve(make_runner=lambda: runner)
    async with dial(served.chat + "?events=1") as phone:
        drawn = await phone.event("ready")
    async with dial(
        served.chat + f"?events=1&seed={drawn['seed']}&text_temperature=0.5&audio_seed=9&colour=red"
    ) as phone:
        told = await phone.event("ready")
    (_, first), (_, second) = runner.started
    assert first.text_seed == first.audio_seed == drawn["seed"] == told["seed"] == second.text_seed
    assert (second.audio_seed, second.text_temperature) == (9, 0.5)
    assert drawn["call"] != told["call"] and drawn["resume"] != told["resume"]


async def test_what_the_models_makers_recommend_is_for_who_does_not_choose(serve: Serve):
    runner = TalkingRunner(2)
    runner.card = replace(runner.card, params={"text_temperature": 0.3, "audio_topk": 40})
    served = await serve(make_runner=lambda: runner)
    async with dial(served.chat + "?text_temperature=0.5") as phone:
        await phone.greeting()
        with await asyncio.to_thread(urllib.request.urlopen, served.http + "/api/info") as response:
            assert json.load(response)["params"] == {"text_temperature": 0.3, "audio_topk": 40}
    [(_, params)] = runner.started
    assert (params.text_temperature, params.audio_topk, params.audio_temperature) == (0.5, 40, 0.8)


@pytest.mark.usefixtures("patient_engine")
async def test_max_steps_ends_the_call_after_the_last_word(serve: Serve):
    served = await serve()
    async with dial(served.chat + "?events=1&max_steps=126") as phone:
        await phone.greeting()
        for frame in speech(126):
            await phone.say(frame)
            await phone.hear()
        assert (await phone.event("limit"))["left_s"] == 10
        assert (await phone.event("end"))["reason"] == "limit"
        code, reason = await phone.end()
        assert (code, phone.errors) == (1000, []) and reason
    await until(lambda: served.service.running == 0)


@pytest.mark.usefixtures("quick_watch")
async def test_stats_come_only_to_those_who_ask(serve: Serve):
    served = await serve()
    async with dial(served.chat + "?events=1") as asking, dial(served.chat) as stock:
        for phone in (asking, stock):
            await phone.greeting()
            await phone.say(speech(1)[0])
            await phone.hear()
        stats = await asking.event("stats")
        assert stats["step_ms"] >= 0 and stats["wait_ms"] >= 0
        await stock.say(speech(1)[0])
        await stock.hear()
        assert stock.events == []


async def test_a_muted_microphone_is_heard_as_silence(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pacing, "SILENCE_AFTER_S", 0.05)
    served = await serve()
    async with dial(served.chat) as phone:
        await phone.greeting()
        await phone.say(speech(1)[0])
        await phone.hear()
        silence = [await phone.hear() for _ in range(5)]  # nothing is said, and the call goes on
        assert np.abs(silence[-1]).max() < 0.01


@pytest.mark.usefixtures("quick_watch")
async def test_a_quiet_caller_is_pinged(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("server.calls.registry.KEEP_ALIVE_AFTER_S", 0.02)
    served = await serve()
    async with dial(served.chat) as phone:
        await phone.greeting()
        assert await phone._receive() == await phone._receive() == b"\6"


async def test_info_says_who_answers(serve: Serve):
    served = await serve(slots=3)
    async with dial(served.chat) as phone:
        await phone.greeting()
        with await asyncio.to_thread(urllib.request.urlopen, served.http + "/api/info") as response:
            info = json.load(response)
    expected = {"name": "Parley", "model": "echo", "demo": True, "sample_rate_hz": 24000, "frame_ms": 80}
    assert expected.items() <= info.items()
    assert (info["slots"], info["running"], info["waiting"], info["voices"]) == (3, 1, 0, [])
    assert info["prompts"] == []
    assert info["limits"]["first_audio_s"] == 30
