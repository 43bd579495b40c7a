"""The metrics of a real server after real calls, read with the parsers of prometheus_client."""

from __future__ import annotations

import asyncio
import json
import math
import urllib.request

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from server.engine.runner import DeviceMemory
from server.http.prometheus import FRAME_HISTOGRAMS
from server.metrics import Count
from tests.fakes import TalkingRunner
from tests.server.chat_client import open_chat, speech, wait_until
from tests.server.conftest import RunningServer, Serve

OPENMETRICS = "application/openmetrics-text; version=1.0.0"

Samples = dict[str, float]  # name{label="value"} → value


async def get(served: RunningServer, path: str, accept: str = "*/*") -> tuple[str, str]:
    """Media type and body of a response."""

    def fetch() -> tuple[str, str]:
        request = urllib.request.Request(served.http + path, headers={"Accept": accept})
        with urllib.request.urlopen(request) as response:
            return response.headers["Content-Type"], response.read().decode()

    return await asyncio.to_thread(fetch)


async def scrape(served: RunningServer) -> Samples:
    _, page = await get(served, "/metrics")
    return {
        sample.name + "".join(f'{{{name}="{value}"}}' for name, value in sample.labels.items()): sample.value
        for family in parser.text_string_to_metric_families(page)
        for sample in family.samples
    }


async def talk(served: RunningServer, frames: int, query: str = "") -> None:
    """Hold a call of `frames` frames."""
    async with open_chat(served.chat + query) as client:
        await client.handshake()
        for frame in speech(frames):
            await client.send_frame(frame)
            await client.receive_frame()
    await wait_until(lambda: not served.service.running)


@pytest.mark.usefixtures("unpaced_engine")
async def test_call_is_counted_and_timed(serve: Serve):
    served = await serve(slots=3)
    before = await scrape(served)
    assert (before["parley_ready"], before["parley_slots"], before["parley_frames_total"]) == (1, 3, 0)
    assert before['parley_calls_ended_total{reason="left"}'] == 0, (
        "exported before the first such call, so that a rate includes it"
    )
    async with open_chat(served.chat) as client:
        await client.handshake()
        for frame in speech(7):
            await client.send_frame(frame)
            await client.receive_frame()
        during = await scrape(served)
    await wait_until(lambda: served.service.metrics.counts[Count.SESSIONS_ENDED])
    after = await scrape(served)
    assert (during["parley_calls_running"], after["parley_calls_running"]) == (1, 0)
    assert during["parley_calls_started_total"] == after["parley_calls_started_total"] == 1
    assert during["parley_frames_total"] == after["parley_frames_total"] == 7, (
        "frames are counted once, also after the end of the call"
    )
    assert after['parley_calls_ended_total{reason="left"}'] == 1
    for name, _ in FRAME_HISTOGRAMS.values():
        assert after[f"{name}_count"] == after[f'{name}_bucket{{le="+Inf"}}'] == 7
    assert after['parley_step_seconds_count{callers="1"}'] == 7
    assert after["parley_rows_computed_total"] == after["parley_rows_used_total"] == 7
    assert after["parley_call_seconds_count"] == after["parley_queue_wait_seconds_count"] == 1
    parts = sum(after[f"parley_{part}_seconds_sum"] for part in ("frame_wait", "frame_send"))
    parts += after['parley_step_seconds_sum{callers="1"}']
    assert math.isclose(parts, after["parley_turnaround_seconds_sum"], rel_tol=1e-6), (
        "the parts add up to the turnaround"
    )
    received_bytes = 1 + sum(map(len, client.audio_messages))  # the handshake is one byte
    assert after["parley_sent_bytes_total"] == received_bytes
    assert after["parley_received_bytes_total"] > 7 * 40
    assert after["process_resident_memory_bytes"] > 1e6


async def test_refused_calls_are_counted_by_reason(serve: Serve):
    served = await serve(slots=1, refuse_when_full=True)
    async with open_chat(served.chat) as client, open_chat(served.chat + "?events=1") as waiting:
        await client.handshake()
        await waiting.event("queue")
        for query in ("", "?seed=x"):
            with pytest.raises(Exception, match=r"HTTP 503|1008"):
                await talk(served, 1, query)
        samples = await scrape(served)
        assert samples["parley_calls_waiting"] == 1
        await waiting.socket.close()
        await wait_until(lambda: not served.service.waiting)
    assert samples['parley_calls_refused_total{reason="full"}'] == 1
    assert samples['parley_calls_refused_total{reason="parameter"}'] == 1
    assert samples['parley_calls_refused_total{reason="stopping"}'] == 0
    assert (await scrape(served))["parley_queue_left_total"] == 1


async def test_info_and_metrics_have_the_same_counts(serve: Serve):
    served = await serve(slots=1)
    async with open_chat(served.chat) as client:
        await client.handshake()
        await client.socket.send(b"\1" + b"garbage instead of Opus")
        await client.socket.send(b"")
        await wait_until(
            lambda: served.service.counts[Count.MESSAGES_INVALID] and served.service.counts[Count.RECEIVED_BYTES]
        )
        info = json.loads((await get(served, "/api/info"))[1])
        samples = await scrape(served)
    for count in Count:
        assert samples[f"parley_{count}_total"] == info["counts"].get(count, 0), count


async def test_openmetrics_is_sent_when_it_is_accepted(serve: Serve):
    served = await serve()
    await talk(served, 2)
    media_type, page = await get(served, "/metrics", OPENMETRICS)
    assert media_type.startswith("application/openmetrics-text")
    families = {family.name: family for family in openmetrics_parser.text_string_to_metric_families(page)}
    assert families["parley_frames"].type == "counter" and families["parley_turnaround_seconds"].type == "histogram"


async def test_gpu_memory_is_exported_only_with_a_gpu(serve: Serve):
    class OnGpu(TalkingRunner):
        def device_memory(self) -> DeviceMemory:
            return DeviceMemory(used_bytes=3 << 30, total_bytes=24 << 30)

    samples = await scrape(await serve(make_runner=lambda: OnGpu(1)))
    assert samples["parley_gpu_memory_used_bytes"] / samples["parley_gpu_memory_total_bytes"] == 3 / 24
    assert not any(name.startswith("parley_gpu") for name in await scrape(await serve()))


async def test_every_count_is_exported(serve: Serve):
    samples = await scrape(await serve())
    assert {f"parley_{count}_total" for count in Count} <= set(samples)
