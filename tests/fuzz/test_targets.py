"""The fuzz targets in short, without the fuzzer: a few hundred spoilt inputs each."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.audio.ogg import OggOpusReader
from server.metrics import Count
from tests.fuzz import calls, gates, lives, parsers
from tests.fuzz.__main__ import RUNS, target
from tests.fuzz.seeds import seeds
from tests.server.chat_client import TIMEOUT_S

SEEDS = seeds()


@st.composite
def spoilt(draw: st.DrawFn, name: str) -> bytes:
    """A seed with a few bytes changed, cut out or added; or anything."""
    data = bytearray(draw(st.sampled_from(SEEDS[name])))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return draw(st.just(bytes(data)) | st.binary(max_size=200))


@pytest.mark.parametrize("name", RUNS)
def test_it_keeps_its_promises(name: str):
    tried = target(name)

    @settings(
        max_examples=40 if name in ("call", "path") else 200,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(spoilt(name))
    def try_out(data: bytes) -> None:
        tried(data)

    for seed in SEEDS[name]:
        tried(seed)
    try_out()


def test_the_seeds_reach_what_they_are_for():
    made = SEEDS["ogg"][1]
    pages = [parsers.page(piece) for piece in parsers.pieces(made[1:])]
    assert len(OggOpusReader().push(b"".join(pages))) == 2
    server = calls.application()
    _, *messages = parsers.pieces(SEEDS["call"][0][1:])
    told = server.run(server.call(b"events=1&max_steps=1", messages, is_patient=True, stays_s=TIMEOUT_S))
    kinds = {message["bytes"][0] for message in told if message["type"] == "websocket.send"}
    assert {0, 1, 4} <= kinds, "greeting, sound and events"
    assert server.run(server.get(b"/page/main.js", b""))[0]["status"] == 200


def test_the_seeds_bring_about_what_can_happen_to_calls():
    counted: Counter[Count] = Counter()
    refused = 0
    for seed in SEEDS["lives"]:
        world = lives.World()
        for byte in seed:
            world.happen(byte & 7, byte >> 3)
        world.end()
        counted += world.house.counts
        refused += world.house.metrics.refused.total()
    happened = {Count.FRAMES, Count.CALLS_LOST, Count.CALLS_RESUMED, Count.CALLS_EVICTED, Count.CALLS_NON_FINITE}
    assert {*happened, Count.QUEUE_LEFT} <= {*counted}
    assert refused


def test_genuine_tokens_are_among_the_seeds(monkeypatch: pytest.MonkeyPatch):
    """The rest of the targets' promises is about them."""
    seen: list[object] = []
    monkeypatch.setattr(gates, "_check_claims", lambda *told: seen.append(told))
    monkeypatch.setattr(gates, "_check_visit", lambda *told: seen.append(told))
    for name, least in {"token": 4, "door": 6}.items():
        for seed in SEEDS[name]:
            target(name)(seed)
        assert len(seen) >= least
        seen.clear()
