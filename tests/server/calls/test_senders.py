"""Clients that send in bursts or pause, over a real socket: what they say is heard whole, and on time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import opuslib
from opuslib.api.ctl import set_dtx
from opuslib.api.encoder import encoder_ctl

from server.audio.framing import FRAME_S
from server.audio.ogg import OggOpusWriter
from server.dialects.kyutai_protocol import AudioForm
from tests.server.chat_client import ChatClient, open_chat, speech
from tests.server.conftest import RunningServer, Serve

TimedPayload = tuple[float, bytes]  # when it is sent, in seconds from the start


@dataclass
class Answer:
    """What came back."""

    at: list[float] = field(default_factory=list)  # of each frame, in seconds from the start
    events: list[dict] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def packets_of(seconds: float, dtx: bool = False, pauses: Sequence[tuple[float, float]] = ()) -> list[bytes]:
    """Packets of 20 ms of speech, silent within `pauses`."""
    pcm = np.concatenate(speech(round(seconds / FRAME_S)))
    for begin, end in pauses:
        pcm[round(begin * 24_000) : round(end * 24_000)] = 0
    encoder = opuslib.Encoder(24_000, 1, opuslib.APPLICATION_VOIP)
    if dtx:
        encoder_ctl(encoder.encoder_state, set_dtx, 1)  # opuslib's `encoder.dtx = 1` only reads the setting
    int16 = (pcm * 32_000).astype("<i2")
    return [encoder.encode(int16[at : at + 480].tobytes(), 480) for at in range(0, len(pcm), 480)]


def pages(seconds: float, page_s: float) -> list[TimedPayload]:
    """Ogg pages of `page_s`, each sent when it has been spoken."""
    writer, packets = OggOpusWriter(), packets_of(seconds)
    each = round(page_s / 0.02)
    sound = [((at + each) * 0.02, writer.page(packets[at : at + each])) for at in range(0, len(packets), each)]
    return [(0.0, writer.headers()), *sound]


async def converse(
    served: RunningServer, messages: Sequence[TimedPayload], form: AudioForm, stay_s: float, frames: int | None = None
) -> Answer:
    """Send `messages` at their times; what came back in `stay_s`, or until there are `frames`."""
    async with open_chat(served.chat + "?events=1", form) as client:
        await client.handshake()
        loop = asyncio.get_running_loop()
        start = loop.time()

        async def send() -> None:
            for at, payload in messages:
                await asyncio.sleep(start + at - loop.time())
                await client.socket.send(b"\1" + payload)

        sending = asyncio.create_task(send())
        answer = await _listen(client, start, stay_s, frames)
        await sending
        return answer


async def _listen(client: ChatClient, start: float, stay_s: float, frames: int | None) -> Answer:
    answer, loop = Answer(events=client.events, errors=client.errors), asyncio.get_running_loop()
    try:
        async with asyncio.timeout_at(start + stay_s):
            while frames is None or len(answer.at) < frames:
                await client.receive_frame()
                answer.at.append(loop.time() - start)
    except TimeoutError:
        pass
    return answer


async def test_bursts_are_heard_whole_and_their_delay_is_told(serve: Serve):
    served = await serve(slots=3)
    sizes = (0.4, 0.5, 1.0)
    calls = [converse(served, pages(3.0, page_s), AudioForm.OGG, 8.0, frames=37) for page_s in sizes]
    for page_s, answer in zip(sizes, await asyncio.gather(*calls), strict=True):
        assert len(answer.at) == 37, "every frame is answered"
        assert not answer.errors and not [event for event in answer.events if event["type"] == "skip"]
        gaps = [later - earlier for earlier, later in pairwise(answer.at)]
        assert float(np.median(gaps)) > 0.06, "evenly, not in bursts"
        stats = [event for event in answer.events if event["type"] == "stats"][-1]
        assert abs(stats["delay_ms"] / 1000 - page_s) < 0.2 and stats["wait_ms"] < 100, json.dumps(stats)


async def test_client_of_long_bursts_is_told_so_in_words(serve: Serve):
    served = await serve()
    answer = await converse(served, [(0.0, payload) for _, payload in pages(1.6, 1.6)], AudioForm.OGG, 5.0, frames=20)
    assert any("Too much audio comes at once" in sentence for sentence in answer.errors)


async def test_pauses_by_dtx_and_by_gating_cost_the_model_no_time(serve: Serve):
    served = await serve(slots=2)
    seconds, pauses = 6.0, [(0.6, 1.4), (2.2, 3.4), (4.2, 4.7), (5.2, 5.8)]
    by_dtx = [
        ((n + 1) * 0.02, packet)
        for n, packet in enumerate(packets_of(seconds, dtx=True, pauses=pauses))
        if len(packet) > 2  # the encoder says so of packets that need not be sent
    ]
    gated = [
        ((n + 1) * 0.02, packet)
        for n, packet in enumerate(packets_of(seconds))
        if not any(begin <= n * 0.02 < end for begin, end in pauses)
    ]
    assert len(by_dtx) < 0.9 * seconds / 0.02
    calls = [converse(served, messages, AudioForm.RAW, seconds) for messages in (by_dtx, gated)]
    for answer in await asyncio.gather(*calls):
        frames = (seconds - answer.at[0]) / FRAME_S
        assert len(answer.at) >= 0.98 * frames - 4, "less the first pause, which cannot be foreseen"
        late = [later - earlier for earlier, later in pairwise(answer.at) if earlier > 1.6 and later - earlier > 0.2]
        assert len(late) <= 1, "after the first pause, no hole"
