"""Invalid input: its sender is told, the neighbours are unaffected, and the slot becomes free again."""

from __future__ import annotations

import io
import logging
import random
from contextlib import suppress

import httpx
import numpy as np
import pytest
import soundfile
from websockets.exceptions import ConnectionClosed

from server.audio.opus import OpusEncoder
from server.calls import receiver
from server.dialects.kyutai_protocol import AudioForm, KyutaiProtocol
from server.metrics import Count
from tests.server.calls.neighbour import expected_echo, unaffected_neighbour
from tests.server.chat_client import open_chat, speech, wait_until
from tests.server.conftest import Serve

pytestmark = pytest.mark.usefixtures("unpaced_engine")


def _ogg(codec_format: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.concatenate(speech(5)), 24_000, format=codec_format, subtype=subtype)
    return file.getvalue()


def _as_messages(stream: bytes, size: int = 1000) -> list[bytes]:
    return [b"\1" + stream[at : at + size] for at in range(0, len(stream), size)]


def _random_messages() -> list[bytes]:
    generator = random.Random(7)
    return [generator.randbytes(generator.randrange(1, 300)) for _ in range(300)]


def _truncated() -> list[bytes]:
    pages = [
        message for frame in speech(6) for message in KyutaiProtocol(AudioForm.OGG).audio(OpusEncoder().encode(frame))
    ]
    return [page[: len(page) // 2] for page in pages]


# Case: messages, accepted close codes, a part of the error message.
UNRECOVERABLE: dict[str, tuple[list[bytes | str], set[int], str]] = {
    "text": (["hello"], {1008}, "binary"),
    "vorbis": (list(_as_messages(_ogg("OGG", "VORBIS"))), {1008}, "Vorbis"),
    "not ogg": ([b"\1" + b"OggS" + bytes(500)], {1008}, "Ogg"),
    "not opus": ([b"\1\xff"] * receiver.MAX_UNDECODABLE, {1008}, "could not be decoded"),
    "huge packet": ([b"\1" + bytes(60_000)], {1009}, "bytes"),
}


@pytest.mark.parametrize("case", UNRECOVERABLE)
async def test_call_ends_with_an_error_message_after_an_unrecoverable_message(serve: Serve, case: str):
    messages, codes, expected = UNRECOVERABLE[case]
    served = await serve()
    async with unaffected_neighbour(served), open_chat(served.chat + "?events=1", AudioForm.RAW) as client:
        await client.handshake()
        for message in messages:
            await client.socket.send(message)
        code, reason = await client.wait_closed()
        assert code in codes and reason
        assert expected in client.errors[-1]
        assert client.events[-1]["type"] == "end"
        await wait_until(lambda: served.service.running == 1)


@pytest.mark.parametrize("message", [bytes(1_000_000), "x" * 1_000_000])
async def test_call_ends_with_1009_after_a_huge_message(serve: Serve, message: bytes | str):
    served = await serve()
    async with unaffected_neighbour(served), open_chat(served.chat) as client:
        await client.handshake()
        await client.socket.send(message)
        assert (await client.wait_closed())[0] == 1009
        await wait_until(lambda: served.service.running == 1)


# Case: messages, and a part of the warning, if there is one.
IGNORED: dict[str, tuple[list[bytes], str | None]] = {
    "empty": ([b""] * 50, "empty"),
    "empty audio": ([b"\1"] * 50, None),
    "unknown kinds": ([bytes([kind]) + b"abc" for kind in range(7, 256)], None),
    "bad metadata": ([b"\4{", b"\4[]", b"\4" + b"[" * 100_000], "JSON"),
    "control": ([b"\3\0", b"\3\xff", b"\6", b"\0", b"\2hi", b"\5oh"], None),
}


@pytest.mark.parametrize("case", IGNORED)
async def test_call_continues_after_a_message_that_can_be_ignored(serve: Serve, case: str):
    messages, warning = IGNORED[case]
    served = await serve()
    frames = speech(4)
    async with unaffected_neighbour(served), open_chat(served.chat) as client:
        await client.handshake()
        for message in messages:
            await client.socket.send(message)
        if warning:
            assert warning in await client.error()
        for frame in frames:
            await client.send_frame(frame)
            await client.receive_frame()
        assert client.audio_messages == expected_echo(frames, AudioForm.OGG)
        assert len(client.errors) <= (warning is not None), "warnings are sent at most once a second"


@pytest.mark.parametrize("messages", [_random_messages(), _truncated()], ids=["random", "truncated"])
async def test_neighbour_is_unaffected_by_random_or_truncated_messages(serve: Serve, messages: list[bytes]):
    served = await serve()
    async with unaffected_neighbour(served):
        async with open_chat(served.chat) as client:
            await client.handshake()
            with suppress(ConnectionClosed):  # some of these messages end the call
                for message in messages:
                    await client.socket.send(message)
        await wait_until(lambda: served.service.running == 1)


async def test_undecodable_packet_is_concealed_and_the_call_continues(serve: Serve):
    served = await serve()
    frames = speech(6)
    async with unaffected_neighbour(served), open_chat(served.chat, AudioForm.RAW) as client:
        await client.handshake()
        for frame in frames[:3]:
            await client.send_frame(frame)
            await client.receive_frame()
        for _ in range(4):  # invalid Opus of 20 ms each, so that one frame is concealed
            await client.socket.send(b"\1\xff\xff\xff")
        await client.receive_frame()
        for frame in frames[3:]:
            await client.send_frame(frame)
            assert np.abs(await client.receive_frame()).max() > 0.01
        await client.socket.close()
        await wait_until(lambda: served.service.metrics.counts[Count.PACKETS_CONCEALED] == 4)


async def test_corrupt_ogg_page_is_reported_and_counted_and_the_call_continues(serve: Serve):
    served = await serve()
    async with open_chat(served.chat + "?events=1") as client:
        await client.handshake()
        for frame in speech(2):
            await client.send_frame(frame)
            await client.receive_frame()
        [page] = client.wire.audio(OpusEncoder().encode(speech(1)[0]))
        await client.socket.send(page[:-1] + bytes([page[-1] ^ 1]))
        assert (await client.event("skip"))["frames"] == 1
        await client.send_frame(speech(1)[0])
        await client.receive_frame()
        async with httpx.AsyncClient(base_url=served.http) as http_client:
            counts = (await http_client.get("/api/info")).json()["counts"]
        assert (counts["pages_lost"], counts["frames"]) == (1, 3)
    await wait_until(lambda: served.service.metrics.counts[Count.PAGES_LOST] == 1)


async def test_call_continues_while_undecodable_packets_are_never_consecutive_for_long(serve: Serve):
    served = await serve()
    frame, rounds = speech(1)[0], receiver.MAX_UNDECODABLE // 4 + 3
    async with open_chat(served.chat, AudioForm.RAW) as client:
        await client.handshake()
        for _ in range(rounds):
            for _ in range(4):  # invalid Opus of 20 ms each, so that one frame is concealed
                await client.socket.send(b"\1\xff\xff\xff")
            await client.receive_frame()
            await client.send_frame(frame)
            await client.receive_frame()
        await client.socket.close()
        await wait_until(lambda: served.service.metrics.counts[Count.PACKETS_CONCEALED] == 4 * rounds)


async def test_one_lucky_packet_does_not_save_a_stream_that_cannot_be_decoded(serve: Serve):
    served = await serve()
    garbage, [good, *_] = b"\1\xff\xff\xff", OpusEncoder().encode(speech(1)[0])
    async with open_chat(served.chat, AudioForm.RAW) as client:
        await client.handshake()
        for _ in range(100):  # settled: the stream is Opus
            await client.socket.send(b"\1" + good)
        for _ in range(3):
            for message in [garbage] * 20 + [b"\1" + good]:
                await client.socket.send(message)
        assert "could not be decoded" in await client.error()
        assert (await client.wait_closed())[0] == 1008


async def test_second_of_undecodable_sound_in_few_long_packets_ends_the_call(serve: Serve):
    served = await serve()
    good, garbage = OpusEncoder().encode(speech(1)[0])[0], bytes([0x1B, 0x82, 255, 255])  # claims 120 ms
    async with open_chat(served.chat, AudioForm.RAW) as client:
        await client.handshake()
        for _ in range(100):
            await client.socket.send(b"\1" + good)
        for _ in range(9):
            await client.socket.send(b"\1" + garbage)
        assert "could not be decoded" in await client.error()


async def test_webm_is_named_at_its_first_message(serve: Serve):
    """A browser's MediaRecorder, in chunks of a second."""
    served = await serve()
    begun = bytes.fromhex("1a45dfa39f4286810142f7810142f2810442f381084282847765626d42878104428581021853806701ffffff")
    async with open_chat(served.chat + "?events=1") as client:
        await client.handshake()
        await client.socket.send(b"\1" + begun + bytes(20_000))
        code, reason = await client.wait_closed()
        assert code == 1008 and "WebM" in reason
        assert "WebM" in client.errors[0] and "Ogg Opus" in client.errors[0]


@pytest.mark.parametrize("form", AudioForm)
async def test_stereo_and_60_ms_packets_are_decoded(serve: Serve, form: AudioForm):
    if form is AudioForm.OGG:
        messages = _as_messages(_ogg("OGG", "OPUS"))
    else:
        import opuslib

        stereo = opuslib.Encoder(48_000, 2, opuslib.APPLICATION_AUDIO)
        messages = [b"\1" + stereo.encode(bytes(2880 * 4), 2880) for _ in range(10)]  # 60 ms
    served = await serve()
    async with open_chat(served.chat, form) as client:
        await client.handshake()
        for message in messages:
            await client.socket.send(message)
        for _ in range(4):
            await client.receive_frame()


@pytest.mark.parametrize(
    ("query", "parameter"),
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
async def test_call_with_an_invalid_parameter_is_refused_by_its_name(
    serve: Serve, query: str, parameter: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "server")
    served = await serve()
    async with open_chat(f"{served.chat}?{query}") as client:
        assert (await client.error()).startswith(parameter + " ")
        code, reason = await client.wait_closed()
        assert code == 1008 and parameter in reason
        assert served.service.running == 0
        assert served.service.metrics.refused.total() == 1
    [refused] = [record for record in caplog.records if record.message == "call refused"]
    assert vars(refused)["reason"] == "parameter"
