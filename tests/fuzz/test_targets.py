"""Short runs of the fuzz targets without the fuzzer: up to 200 mutated inputs each."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.audio.ogg import OggOpusReader
from server.metrics import Count
from tests.fuzz import access, calls, parsers, sequences
from tests.fuzz.__main__ import RUNS, target
from tests.fuzz.seeds import seeds
from tests.server.chat_client import TIMEOUT_S

SEEDS = seeds()


@st.composite
def mutated_seed(draw: st.DrawFn, name: str) -> bytes:
    """A seed with a few bytes changed, removed or added; or random bytes."""
    data = bytearray(draw(st.sampled_from(SEEDS[name])))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return draw(st.just(bytes(data)) | st.binary(max_size=200))


@pytest.mark.parametrize("name", RUNS)
def test_target_holds_for_seeds_and_mutated_inputs(name: str):
    function = target(name)

    @settings(
        max_examples=40 if name in ("call", "path") else 200,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(mutated_seed(name))
    def run_mutated(data: bytes) -> None:
        function(data)

    for seed in SEEDS[name]:
        function(seed)
    run_mutated()


def test_seeds_of_ogg_call_and_path_are_accepted():
    ogg = SEEDS["ogg"][1]
    pages = [parsers.page(piece) for piece in parsers.pieces(ogg[1:])]
    assert len(OggOpusReader().push(b"".join(pages))) == 2
    server = calls.asgi_server()
    _, *messages = parsers.pieces(SEEDS["call"][0][1:])
    sent = server.run(server.call(b"events=1&max_steps=1", messages, waits_for_handshake=True, stay_s=TIMEOUT_S))
    kinds = {message["bytes"][0] for message in sent if message["type"] == "websocket.send"}
    assert {0, 1, 4} <= kinds, "handshake, audio and events"
    assert server.run(server.get(b"/page/main.js", b""))[0]["status"] == 200


def test_seeds_of_sequence_cover_every_outcome_of_a_call():
    counted: Counter[Count] = Counter()
    refused = 0
    for seed in SEEDS["sequence"]:
        simulation = sequences.CallSimulation()
        for byte in seed:
            simulation.run(byte)
        simulation.end()
        counted += simulation.service.counts
        refused += simulation.service.metrics.refused.total()
    outcomes = {Count.FRAMES, Count.CALLS_LOST, Count.CALLS_RESUMED, Count.CALLS_EVICTED, Count.CALLS_NON_FINITE}
    assert {*outcomes, Count.QUEUE_LEFT} <= {*counted}
    assert refused


def test_seeds_of_token_and_access_have_accepted_tokens(monkeypatch: pytest.MonkeyPatch):
    """Without them, the targets would never check an accepted token."""
    checked: list[object] = []
    monkeypatch.setattr(access, "_check_claims", lambda *args: checked.append(args))
    monkeypatch.setattr(access, "_check_admitted", lambda *args: checked.append(args))
    for name, minimum in {"token": 4, "access": 6}.items():
        for seed in SEEDS[name]:
            target(name)(seed)
        assert len(checked) >= minimum
        checked.clear()
