"""Every byte from outside is hostile. Whoever sends nonsense is told so; nobody else notices; the slot comes back."""

from __future__ import annotations

import asyncio
import io
import logging
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import httpx
import numpy as np
import pytest
import soundfile
from websockets.exceptions import ConnectionClosed, InvalidStatus

from server.audio.framing import Pcm
from server.audio.opus import OpusEncoder
from server.calls import receiver
from server.dialects.kyutai_protocol import AudioForm, KyutaiProtocol
from server.metrics import Count
from server.sessions.outbox import OUTBOX_FRAMES
from tests.server.calls.test_call import echo_of
from tests.server.conftest import Serve, Served
from tests.server.phone import PATIENCE_S, Phone, dial, speech, until

pytestmark = pytest.mark.usefixtures("patient_engine")


@asynccontextmanager
async def undisturbed_neighbour(served: Served) -> AsyncIterator[None]:
    """Talk on another line all the while, and hear to the bit what a caller alone on the server hears."""
    frames: list[Pcm] = speech(50)
    said: list[Pcm] = []

    async def talk(phone: Phone) -> None:
        while True:
            said.append(frames[len(said) % len(frames)])
            await phone.say(said[-1])
            await phone.hear()
            await asyncio.sleep(0.01)

    async with dial(served.chat) as phone:
        await phone.greeting()
        talking = asyncio.create_task(talk(phone))
        await until(lambda: len(said) > 3)
        yield
        before = len(said)
        await until(lambda: len(said) > before + 3 or talking.done())
        talking.cancel()
        assert len(phone.audio_messages) >= before
        assert phone.audio_messages == echo_of(said, AudioForm.OGG)[: len(phone.audio_messages)]
        assert not phone.errors


def _ogg(codec_format: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.concatenate(speech(5)), 24_000, format=codec_format, subtype=subtype)
    return file.getvalue()


def _in_messages(stream: bytes, size: int = 1000) -> list[bytes]:
    return [b"\1" + stream[at : at + size] for at in range(0, len(stream), size)]


def _random_messages() -> list[bytes]:
    generator = random.Random(7)
    return [generator.randbytes(generator.randrange(1, 300)) for _ in range(300)]


def _truncated() -> list[bytes]:
    pages = [
        message for frame in speech(6) for message in KyutaiProtocol(AudioForm.OGG).audio(OpusEncoder().encode(frame))
    ]
    return [page[: len(page) // 2] for page in pages]


FATAL: dict[str, tuple[list[bytes | str], set[int], str]] = {
    "text": (["hello"], {1008}, "binary"),
    "vorbis": (list(_in_messages(_ogg("OGG", "VORBIS"))), {1008}, "Vorbis"),
    "not ogg": ([b"\1" + b"OggS" + bytes(500)], {1008}, "Ogg"),
    "no opus": ([b"\1\xff"] * receiver.MAX_UNDECODABLE, {1008}, "could not be decoded"),
    "huge packet": ([b"\1" + bytes(60_000)], {1009}, "bytes"),
}


@pytest.mark.parametrize("case", FATAL)
async def test_nonsense_beyond_repair_ends_the_call_with_a_sentence(serve: Serve, case: str):
    messages, codes, sentence = FATAL[case]
    served = await serve()
    async with undisturbed_neighbour(served), dial(served.chat + "?events=1", AudioForm.RAW) as phone:
        await phone.greeting()
        for message in messages:
            await phone.socket.send(message)
        code, reason = await phone.end()
        assert code in codes and reason
        assert sentence in phone.errors[-1]
        assert phone.events[-1]["type"] == "end"
        await until(lambda: served.service.running == 1)


@pytest.mark.parametrize("message", [bytes(1_000_000), "x" * 1_000_000])
async def test_a_huge_message_ends_the_call(serve: Serve, message: bytes | str):
    served = await serve()
    async with undisturbed_neighbour(served), dial(served.chat) as phone:
        await phone.greeting()
        await phone.socket.send(message)
        assert (await phone.end())[0] == 1009
        await until(lambda: served.service.running == 1)


HARMLESS: dict[str, tuple[list[bytes], str | None]] = {
    "empty": ([b""] * 50, "empty"),
    "empty audio": ([b"\1"] * 50, "without audio"),
    "unknown kinds": ([bytes([kind]) + b"abc" for kind in range(7, 256)], None),
    "bad metadata": ([b"\4{", b"\4[]", b"\4" + b"[" * 100_000], "JSON"),
    "control": ([b"\3\0", b"\3\xff", b"\6", b"\0", b"\2hi", b"\5oh"], None),
}


@pytest.mark.parametrize("case", HARMLESS)
async def test_nonsense_that_means_nothing_is_told_and_the_call_goes_on(serve: Serve, case: str):
    messages, sentence = HARMLESS[case]
    served = await serve()
    frames = speech(4)
    async with undisturbed_neighbour(served), dial(served.chat) as phone:
        await phone.greeting()
        for message in messages:
            await phone.socket.send(message)
        if sentence:
            assert sentence in await phone.error()
        for frame in frames:
            await phone.say(frame)
            await phone.hear()
        assert phone.audio_messages == echo_of(frames, AudioForm.OGG)
        assert len(phone.errors) <= 1, "sentences come once a second at most"


@pytest.mark.parametrize("messages", [_random_messages(), _truncated()], ids=["random", "truncated"])
async def test_noise_harms_nobody_else(serve: Serve, messages: list[bytes]):
    served = await serve()
    async with undisturbed_neighbour(served):
        async with dial(served.chat) as phone:
            await phone.greeting()
            with suppress(ConnectionClosed):  # some of it is beyond repair
                for message in messages:
                    await phone.socket.send(message)
        await until(lambda: served.service.running == 1)


async def test_a_packet_that_does_not_decode_is_concealed_and_the_call_goes_on(serve: Serve):
    served = await serve()
    frames = speech(6)
    async with undisturbed_neighbour(served), dial(served.chat, AudioForm.RAW) as phone:
        await phone.greeting()
        for frame in frames[:3]:
            await phone.say(frame)
            await phone.hear()
        for _ in range(4):  # 20 ms each that are no Opus: a frame all the same
            await phone.socket.send(b"\1\xff\xff\xff")
        await phone.hear()
        for frame in frames[3:]:
            await phone.say(frame)
            assert np.abs(await phone.hear()).max() > 0.01
        await phone.socket.close()
        await until(lambda: served.service.metrics.counts[Count.PACKETS_CONCEALED] == 4)


async def test_a_corrupt_ogg_page_is_told_and_counted_while_the_call_goes_on(serve: Serve):
    served = await serve()
    async with dial(served.chat + "?events=1") as phone:
        await phone.greeting()
        for frame in speech(2):
            await phone.say(frame)
            await phone.hear()
        [page] = phone.wire.audio(OpusEncoder().encode(speech(1)[0]))
        await phone.socket.send(page[:-1] + bytes([page[-1] ^ 1]))
        assert (await phone.event("skip"))["frames"] == 1
        await phone.say(speech(1)[0])
        await phone.hear()
        async with httpx.AsyncClient(base_url=served.http) as client:
            counts = (await client.get("/api/info")).json()["counts"]
        assert (counts["pages_lost"], counts["frames"]) == (1, 3)
    await until(lambda: served.service.metrics.counts[Count.PAGES_LOST] == 1)


async def test_bad_packets_now_and_then_never_end_a_call(serve: Serve):
    served = await serve()
    frame, rounds = speech(1)[0], receiver.MAX_UNDECODABLE // 4 + 3
    async with dial(served.chat, AudioForm.RAW) as phone:
        await phone.greeting()
        for _ in range(rounds):
            for _ in range(4):  # 20 ms each, so a whole frame is concealed
                await phone.socket.send(b"\1\xff\xff\xff")
            await phone.hear()
            await phone.say(frame)
            await phone.hear()
        await phone.socket.close()
        await until(lambda: served.service.metrics.counts[Count.PACKETS_CONCEALED] == 4 * rounds)


@pytest.mark.parametrize("form", AudioForm)
async def test_stereo_and_other_lengths_are_simply_decoded(serve: Serve, form: AudioForm):
    if form is AudioForm.OGG:
        messages = _in_messages(_ogg("OGG", "OPUS"))
    else:
        import opuslib

        stereo = opuslib.Encoder(48_000, 2, opuslib.APPLICATION_AUDIO)
        messages = [b"\1" + stereo.encode(bytes(2880 * 4), 2880) for _ in range(10)]  # 60 ms
    served = await serve()
    async with dial(served.chat, form) as phone:
        await phone.greeting()
        for message in messages:
            await phone.socket.send(message)
        for _ in range(4):
            await phone.hear()


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("text_temperature=3", "text_temperature"),
        ("text_temperature=nan", "text_temperature"),
        ("audio_temperature=inf", "audio_temperature"),
        ("audio_temperature=-0.1", "audio_temperature"),
        ("text_topk=many", "text_topk"),
        ("audio_topk=501", "audio_topk"),
        ("audio_topk=", "audio_topk"),
        ("pad_mult=5", "pad_mult"),
        ("repetition_penalty=0", "repetition_penalty"),
        ("repetition_penalty_context=1.5", "repetition_penalty_context"),
        ("max_steps=0", "max_steps"),
        ("seed=-2", "seed"),
        ("seed=99999999999999999999999", "seed"),
        ("text_seed=x", "text_seed"),
        ("audio_seed=" + "9" * 5000, "audio_seed"),
    ],
)
async def test_a_bad_parameter_is_named(serve: Serve, query: str, names: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "server")
    served = await serve()
    async with dial(f"{served.chat}?{query}") as phone:
        assert (await phone.error()).startswith(names + " ")
        code, reason = await phone.end()
        assert code == 1008 and names in reason
        assert served.service.running == 0
        assert served.service.metrics.refused.total() == 1
    [refused] = [record for record in caplog.records if record.message == "call refused"]
    assert vars(refused)["reason"] == "parameter"


@pytest.mark.usefixtures("quick_watch")
async def test_a_client_that_stops_reading_is_hung_up_on(serve: Serve):
    served = await serve(slots=2, stalled_s=2)
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await asyncio.to_thread(deaf.connect, ("127.0.0.1", served.port))
    async with undisturbed_neighbour(served):
        async with dial(served.chat, AudioForm.RAW, sock=deaf, max_queue=1) as phone:
            await phone.greeting()
            shout = asyncio.create_task(_shout(phone))
            await until(lambda: served.service.running == 1)
            shout.cancel()
            phone.vanish()
        counts = served.service.metrics.counts
        assert counts[Count.FRAMES_UNSENT] > 0 and counts[Count.FRAMES] > OUTBOX_FRAMES


async def _shout(phone: Phone) -> None:
    frame = speech(1)[0]
    while True:
        await phone.say(frame)
        await asyncio.sleep(0.001)


async def _in_line(served: Served) -> Phone:
    phone = await _dial_for_good(served.chat + "?events=1")
    await phone.event("queue")
    assert served.service.waiting == 1
    return phone


async def _before_audio(served: Served) -> Phone:
    phone = await _dial_for_good(served.chat)
    await phone.greeting()
    return phone


async def _in_mid_call(served: Served) -> Phone:
    phone = await _before_audio(served)
    await phone.say(speech(1)[0])
    await phone.hear()
    return phone


async def _draining(served: Served) -> Phone:
    phone = await _dial_for_good(served.chat + "?max_steps=1")
    await phone.greeting()
    await phone.say(speech(1)[0])  # whose reply is the last
    return phone


async def _dial_for_good(url: str) -> Phone:
    from websockets.asyncio.client import connect

    return Phone(await connect(url, compression=None, proxy=None), AudioForm.OGG)


@pytest.mark.parametrize("state", [_before_audio, _in_mid_call, _draining])
async def test_a_client_may_vanish_at_any_time(serve: Serve, state: Callable[[Served], Awaitable[Phone]]):
    served = await serve()
    async with undisturbed_neighbour(served):
        for _ in range(3):
            phone = await state(served)
            phone.vanish()
            await until(lambda: served.service.running == 1)


async def test_a_client_that_vanishes_in_line_leaves_the_line(serve: Serve):
    served = await serve(slots=1)
    async with undisturbed_neighbour(served):
        for _ in range(3):
            phone = await _in_line(served)
            phone.vanish()
            await until(lambda: served.service.waiting == 0)
        assert served.service.running == 1


@pytest.mark.usefixtures("quick_watch")
@pytest.mark.parametrize("speaks", [False, True])
async def test_a_call_without_audio_ends_with_a_sentence(serve: Serve, speaks: bool):
    served = await serve(**({"quiet_s": 0.2} if speaks else {"first_audio_s": 0.2}))
    async with dial(served.chat) as phone:
        await phone.greeting()
        if speaks:
            await phone.say(speech(1)[0])
        code, _ = await phone.end()
        assert code == 1008 and "0.2 s" in phone.errors[-1]
    await until(lambda: served.service.running == 0)


async def test_a_thousand_connections_that_never_speak(serve: Serve):
    served = await serve(slots=4, max_waiting=8)
    silent = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(100)]  # not even HTTP
    async with undisturbed_neighbour(served):
        limit = asyncio.Semaphore(50)

        async def call(number: int) -> Phone | int:
            async with limit:
                try:
                    return await _dial_for_good(served.chat + ("?events=1" if number % 10 == 0 else ""))
                except InvalidStatus as refusal:
                    return refusal.response.status_code

        answers = await asyncio.gather(*(call(number) for number in range(900)))
        phones = [answer for answer in answers if isinstance(answer, Phone)]
        assert answers.count(503) > 700
        assert (served.service.running, served.service.waiting) == (4, 8)
        for phone in phones:
            phone.vanish()
        await until(lambda: (served.service.running, served.service.waiting) == (1, 0))
    for _, writer in silent:
        writer.close()
    async with asyncio.timeout(PATIENCE_S), dial(served.chat) as phone:
        await phone.greeting()
