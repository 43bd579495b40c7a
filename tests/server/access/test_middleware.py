"""The access policy over real sockets: refused clients are told why, and running calls are unaffected."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from server.access.tokens import SUBPROTOCOL, TOKEN_SUBPROTOCOL
from tests.server.access.test_call_tokens import KEY, minted
from tests.server.calls.neighbour import unaffected_neighbour
from tests.server.chat_client import open_chat, speech, wait_until
from tests.server.conftest import RunningServer, Serve

pytestmark = pytest.mark.usefixtures("unpaced_engine")

TOKEN = "correct-horse-battery"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


async def refused(url: str, **options: Any) -> tuple[int, str]:
    """Status and error code of a call that is refused before the upgrade."""
    with pytest.raises(InvalidStatus) as refusal:
        async with open_chat(url, **options):
            pass
    response = refusal.value.response
    assert response.headers["Content-Type"] == "application/json"
    error = json.loads(response.body or b"")["error"]
    assert error["message"].endswith(".")
    return response.status_code, error["code"]


async def get(served: RunningServer, path: str, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=served.http) as http_client:
        return await http_client.get(path, **options)


def bearer(token: str) -> dict[str, Any]:
    return {"additional_headers": {"Authorization": f"Bearer {token}"}}


def in_subprotocol(token: str) -> dict[str, Any]:
    return {"subprotocols": [SUBPROTOCOL, TOKEN_SUBPROTOCOL + token]}


async def test_requests_without_a_valid_token_are_refused(serve: Serve):
    served = await serve(token=TOKEN, call_token_key=KEY)
    async with open_chat(served.chat, **bearer(TOKEN)) as neighbour:
        await neighbour.handshake()
        for url in (served.chat, served.chat + "?events=1", served.chat + "?resume=abc", served.chat + "?token="):
            assert await refused(url) == (401, "token_missing")
        for wrong in ("x" * len(TOKEN), TOKEN[:-1], TOKEN + "x", "ä", minted("another key, as long as that one")):
            assert await refused(served.chat, **bearer(wrong)) == (401, "token_invalid")
            assert await refused(f"{served.chat}?token={wrong}") == (401, "token_invalid")
        assert await refused(served.chat, **in_subprotocol("x" * 22)) == (401, "token_invalid")
        late = minted(exp=time.time() - 60)
        assert await refused(served.chat, **in_subprotocol(late)) == (401, "token_expired")
        for path in ("/api/info", "/metrics", "/api/none", "/api/chat"):
            answer = await get(served, path)
            assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert (await get(served, path, headers={"Authorization": "Basic abc"})).status_code == 401
        assert served.service.running == 1
        counted = served.service.metrics.refused
        assert counted["token_missing"] == 12 and counted["token_invalid"] == 11 and counted["token_expired"] == 1


async def test_page_and_health_checks_need_no_token(serve: Serve):
    served = await serve(token=TOKEN)
    for path in ("/", "/page/main.js", "/healthz", "/readyz"):
        assert (await get(served, path)).status_code == 200
        assert (await get(served, path, headers={"Authorization": "Bearer wrong"})).status_code == 200


@pytest.mark.parametrize("way", ["bearer", "browser", "query"])
async def test_token_is_accepted_in_header_subprotocol_and_query(serve: Serve, way: str):
    served = await serve(token=TOKEN)
    options: dict[str, Any] = {"bearer": bearer(TOKEN), "browser": in_subprotocol(TOKEN), "query": {}}[way]
    async with open_chat(served.chat + (f"?token={TOKEN}" if way == "query" else ""), **options) as client:
        await client.handshake()
        assert client.socket.subprotocol == (SUBPROTOCOL if way == "browser" else None)
        assert TOKEN not in str(client.socket.response and client.socket.response.headers)
    assert (await get(served, "/api/info", headers=BEARER)).status_code == 200
    assert (await get(served, f"/api/info?token={TOKEN}")).status_code == 200


async def test_subprotocol_is_selected_by_a_server_without_a_token(serve: Serve):
    served = await serve()
    async with open_chat(served.chat, subprotocols=[SUBPROTOCOL]) as client:
        await client.handshake()
        assert client.socket.subprotocol == SUBPROTOCOL
    async with open_chat(served.chat, **in_subprotocol("whatever")) as client:
        await client.handshake()


async def test_log_has_no_token(serve: Serve, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)  # of the libraries too
    served = await serve(token=TOKEN, call_token_key=KEY)
    call_token = minted()
    for token in (TOKEN, call_token):
        async with open_chat(f"{served.chat}?a=1&token={token}&b=2") as client:
            await client.handshake()
        await refused(f"{served.chat}?token={token}x")
        await get(served, f"/api/info?token={token}")
    accepted = [record.getMessage() for record in caplog.records if "[accepted]" in record.getMessage()]
    assert accepted and "a=1&b=2" in accepted[0], "the log of uvicorn is not among the records"
    ours = [record.getMessage() + str(vars(record)) for record in caplog.records if not record.name.startswith("httpx")]
    assert not [line for line in ours if TOKEN in line or call_token.split(".")[2] in line]


async def test_call_token_is_valid_for_one_call_of_its_length(serve: Serve):
    served = await serve(token=TOKEN, call_token_key=KEY)
    token = minted(max_call_s=0.08)
    assert (await get(served, "/api/info", headers={"Authorization": f"Bearer {token}"})).status_code == 200
    assert (await get(served, "/metrics", headers={"Authorization": f"Bearer {token}"})).status_code == 401
    async with open_chat(served.chat + "?max_steps=99&events=1", **in_subprotocol(token)) as client:
        await client.handshake()
        await client.send_frame(speech(1)[0])
        assert await client.wait_closed() == (1000, "The call has reached its length limit.")
    assert await refused(served.chat, **in_subprotocol(token)) == (401, "token_used")
    assert await refused(served.chat + "?events=1", **in_subprotocol(token)) == (401, "token_used")


async def test_call_token_remains_valid_after_a_full_server_refused_it(serve: Serve):
    served = await serve(slots=1, token=TOKEN, call_token_key=KEY, refuse_when_full=True)
    token = minted()
    async with open_chat(served.chat, **bearer(TOKEN)) as first:
        await first.handshake()
        assert await refused(served.chat, **bearer(token)) == (503, "full")
    await wait_until(lambda: served.service.running == 0)
    async with open_chat(served.chat, **bearer(token)) as client:
        await client.handshake()


async def test_a_used_call_token_opens_the_door_for_a_call_that_goes_on_and_for_no_other(serve: Serve):
    served = await serve(token=TOKEN, call_token_key=KEY, max_calls_per_caller=1)
    token = minted(sub="ann")
    async with open_chat(served.chat + "?events=1", **in_subprotocol(token)) as client:
        ready = await client.event("ready")
        client.abort()
    async with open_chat(f"{served.chat}?events=1&resume={ready['resume']}", **in_subprotocol(token)) as again:
        assert (await again.event("ready"))["call"] == ready["call"]
        # Not one that the server would take for a new call.
        for query in ("?resume=abc", "?events=0&resume=abc", "?events=1", "?events=1&events=0&resume=abc"):
            assert await refused(served.chat + query, **in_subprotocol(token)) == (401, "token_used")
        asked = await get(served, "/api/info?events=1&resume=abc", headers={"Authorization": f"Bearer {token}"})
        assert asked.json()["error"]["code"] == "token_used", "only calls can be resumed"
    async with open_chat(f"{served.chat}?events=1&resume=guessed", **in_subprotocol(token)) as guess:
        assert (await guess.wait_closed())[0] == 1008
        assert (await guess.event("end"))["reason"] == "resume"


async def test_call_token_is_valid_for_one_of_several_simultaneous_calls(serve: Serve):
    served = await serve(slots=4, token=TOKEN, call_token_key=KEY)
    token = minted()

    async def call() -> str:
        try:
            async with open_chat(served.chat + "?events=1", **bearer(token)) as client:
                await client.handshake()
                await asyncio.sleep(0.2)
                return "ready"
        except InvalidStatus as refusal:
            return json.loads(refusal.response.body or b"")["error"]["code"]

    answers = sorted(await asyncio.gather(*(call() for _ in range(4))))
    assert answers == ["ready", *["token_used"] * 3]


async def test_pages_of_other_sites_are_refused(serve: Serve):
    served = await serve()
    async with unaffected_neighbour(served):
        for origin in ("https://evil.test", "null", "http://127.0.0.1:1", "http://localhost"):
            assert await refused(served.chat, origin=origin) == (403, "origin")
            assert await refused(served.chat + "?events=1", origin=origin) == (403, "origin")
            assert (await get(served, "/api/info", headers={"Origin": origin})).status_code == 403
        async with open_chat(served.chat, origin=served.http) as client:
            await client.handshake()


async def test_pages_of_allowed_sites_are_accepted(serve: Serve):
    shop = "https://shop.example"
    served = await serve(allowed_origin=shop, token=TOKEN)
    async with open_chat(served.chat, origin=shop, **in_subprotocol(TOKEN)) as client:
        await client.handshake()
    answer = await get(served, "/api/info", headers={"Origin": shop})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (401, shop)
    async with httpx.AsyncClient(base_url=served.http) as http_client:
        asks = {
            "Origin": shop,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization",
        }
        preflight = await http_client.options("/api/info", headers=asks)
        assert preflight.is_success and preflight.headers["Access-Control-Allow-Origin"] == shop
        preflight = await http_client.options("/api/info", headers={**asks, "Origin": "https://evil.test"})
        assert "Access-Control-Allow-Origin" not in preflight.headers
    assert f"frame-ancestors 'self' {shop}" in (await get(served, "/")).headers["Content-Security-Policy"]
    assert await refused(served.chat, origin="https://evil.test", **in_subprotocol(TOKEN)) == (403, "origin")


async def test_rebound_host_name_is_refused(serve: Serve):
    served = await serve()
    rebound = {"Host": f"evil.test:{served.port}"}
    async with unaffected_neighbour(served):
        for path in ("/api/info", "/metrics", "/api/chat"):
            assert (await get(served, path, headers=rebound)).status_code == 403
        # A browser sends this name in both Host and Origin.
        assert await refused(
            f"ws://evil.test:{served.port}/api/chat", host="127.0.0.1", origin=f"http://evil.test:{served.port}"
        ) == (403, "host")
        for path in ("/healthz", "/readyz", "/", "/page/main.js"):  # the page is no secret, and can do nothing there
            assert (await get(served, path, headers=rebound)).status_code == 200


async def test_server_with_a_token_accepts_any_host_name(serve: Serve):
    served = await serve(token=TOKEN)
    host = {"Host": "gpu-box.lan"}
    assert (await get(served, "/", headers=host)).status_code == 200
    assert (await get(served, "/api/info", headers=host)).status_code == 401
    assert (await get(served, "/api/info", headers={**host, **BEARER})).status_code == 200


async def test_public_server_needs_a_token_for_metrics_only(serve: Serve):
    served = await serve(public=True, token=TOKEN)
    async with open_chat(served.chat) as client:
        await client.handshake()
    assert (await get(served, "/api/info")).status_code == 200
    assert (await get(served, "/metrics")).status_code == 401
    assert (await get(served, "/metrics", headers=BEARER)).status_code == 200


async def test_call_limit_uses_the_forwarded_address_of_a_trusted_proxy(serve: Serve):
    served = await serve(slots=4, max_calls_per_caller=1)

    def through_proxy(address: str) -> dict[str, Any]:
        return {"additional_headers": {"X-Forwarded-For": address, "X-Forwarded-Proto": "https"}}

    async with open_chat(served.chat, **through_proxy("192.0.2.7")) as first, open_chat(served.chat) as local:
        await first.handshake()
        await local.handshake()
        assert await refused(served.chat, **through_proxy("192.0.2.7")) == (429, "too_many")
        async with open_chat(served.chat + "?events=1", **through_proxy("192.0.2.7")) as second:
            assert "already have" in await second.error()
            assert await second.wait_closed() == (1013, "You already have 1 calls. End one, then call again.")
        async with open_chat(served.chat, **through_proxy("192.0.2.8")) as other:
            await other.handshake()
        await first.socket.close()
        await wait_until(lambda: served.service.running <= 2)
        async with open_chat(served.chat, **through_proxy("192.0.2.7")) as again:
            await again.handshake()


async def test_forwarded_address_of_an_untrusted_peer_is_ignored(serve: Serve):
    served = await serve(trusted_proxy="192.0.2.1", max_calls_per_caller=1)
    claim: dict[str, Any] = {"additional_headers": {"X-Forwarded-For": "192.0.2.7"}}
    async with open_chat(served.chat, **claim) as one, open_chat(served.chat, **claim) as two:
        await one.handshake()
        await two.handshake()  # both come from this machine, whose calls are not limited


async def test_every_response_has_the_security_headers(serve: Serve):
    served = await serve(token=TOKEN)
    for path in ("/", "/page/main.js", "/client/net/worker.js", "/api/info", "/healthz", "/none"):
        headers = (await get(served, path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'self'" in policy
        assert "unsafe-inline" not in policy and "'unsafe-eval'" not in policy
