"""Peers at an open door, over real sockets: whoever may not come in is told why, and nobody inside notices."""

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
from tests.server.chat_client import ChatClient, open_chat, speech, wait_until
from tests.server.conftest import RunningServer, Serve

pytestmark = pytest.mark.usefixtures("unpaced_engine")

TOKEN = "correct-horse-battery"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


async def refused(url: str, **options: Any) -> tuple[int, str]:
    """Status and code of a call that is turned away before the upgrade."""
    with pytest.raises(InvalidStatus) as refusal:
        async with open_chat(url, **options):
            pass
    response = refusal.value.response
    assert response.headers["Content-Type"] == "application/json"
    error = json.loads(response.body or b"")["error"]
    assert error["message"].endswith(".")
    return response.status_code, error["code"]


async def ask(served: RunningServer, path: str, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=served.http) as http_client:
        return await http_client.get(path, **options)


def bearer(token: str) -> dict[str, Any]:
    return {"additional_headers": {"Authorization": f"Bearer {token}"}}


def as_browser(token: str) -> dict[str, Any]:
    return {"subprotocols": [SUBPROTOCOL, TOKEN_SUBPROTOCOL + token]}


async def test_nobody_gets_in_without_the_token(serve: Serve):
    served = await serve(token=TOKEN, call_token_key=KEY)
    async with open_chat(served.chat, **bearer(TOKEN)) as neighbour:
        await neighbour.handshake()
        for url in (served.chat, served.chat + "?events=1", served.chat + "?resume=abc", served.chat + "?token="):
            assert await refused(url) == (401, "token_missing")
        for wrong in ("x" * len(TOKEN), TOKEN[:-1], TOKEN + "x", "ä", minted("another key, as long as that one")):
            assert await refused(served.chat, **bearer(wrong)) == (401, "token_invalid")
            assert await refused(f"{served.chat}?token={wrong}") == (401, "token_invalid")
        assert await refused(served.chat, **as_browser("x" * 22)) == (401, "token_invalid")
        late = minted(exp=time.time() - 60)
        assert await refused(served.chat, **as_browser(late)) == (401, "token_expired")
        for path in ("/api/info", "/metrics", "/api/none", "/api/chat"):
            answer = await ask(served, path)
            assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert (await ask(served, path, headers={"Authorization": "Basic abc"})).status_code == 401
        assert served.service.running == 1
        counted = served.service.metrics.refused
        assert counted["token_missing"] == 12 and counted["token_invalid"] == 11 and counted["token_expired"] == 1


async def test_the_page_and_the_balancers_questions_need_none(serve: Serve):
    served = await serve(token=TOKEN)
    for path in ("/", "/page/main.js", "/healthz", "/readyz"):
        assert (await ask(served, path)).status_code == 200
        assert (await ask(served, path, headers={"Authorization": "Bearer wrong"})).status_code == 200


@pytest.mark.parametrize("way", ["bearer", "browser", "query"])
async def test_every_way_to_show_the_token(serve: Serve, way: str):
    served = await serve(token=TOKEN)
    options: dict[str, Any] = {"bearer": bearer(TOKEN), "browser": as_browser(TOKEN), "query": {}}[way]
    async with open_chat(served.chat + (f"?token={TOKEN}" if way == "query" else ""), **options) as client:
        await client.handshake()
        assert client.socket.subprotocol == (SUBPROTOCOL if way == "browser" else None)
        assert TOKEN not in str(client.socket.response and client.socket.response.headers)
    assert (await ask(served, "/api/info", headers=BEARER)).status_code == 200
    assert (await ask(served, f"/api/info?token={TOKEN}")).status_code == 200


async def test_where_no_token_is_needed_the_subprotocol_is_selected_all_the_same(serve: Serve):
    served = await serve()
    async with open_chat(served.chat, subprotocols=[SUBPROTOCOL]) as client:
        await client.handshake()
        assert client.socket.subprotocol == SUBPROTOCOL
    async with open_chat(served.chat, **as_browser("whatever")) as client:
        await client.handshake()


async def test_no_log_has_a_token(serve: Serve, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)  # the libraries' too
    served = await serve(token=TOKEN, call_token_key=KEY)
    call_token = minted()
    for token in (TOKEN, call_token):
        async with open_chat(f"{served.chat}?a=1&token={token}&b=2") as client:
            await client.handshake()
        await refused(f"{served.chat}?token={token}x")
        await ask(served, f"/api/info?token={token}")
    accepted = [record.getMessage() for record in caplog.records if "[accepted]" in record.getMessage()]
    assert accepted and "a=1&b=2" in accepted[0], "the HTTP server's own log was not looked at"
    ours = [record.getMessage() + str(vars(record)) for record in caplog.records if not record.name.startswith("httpx")]
    assert not [line for line in ours if TOKEN in line or call_token.split(".")[2] in line]


async def test_a_call_token_is_good_for_one_call_of_its_length(serve: Serve):
    served = await serve(token=TOKEN, call_token_key=KEY)
    token = minted(max_call_s=0.08)
    assert (await ask(served, "/api/info", headers={"Authorization": f"Bearer {token}"})).status_code == 200
    assert (await ask(served, "/metrics", headers={"Authorization": f"Bearer {token}"})).status_code == 401
    async with open_chat(served.chat + "?max_steps=99&events=1", **as_browser(token)) as client:
        await client.handshake()
        await client.send_frame(speech(1)[0])
        assert await client.wait_closed() == (1000, "The call has reached its length limit.")
    assert await refused(served.chat, **as_browser(token)) == (401, "token_used")
    assert await refused(served.chat + "?events=1", **as_browser(token)) == (401, "token_used")


async def test_a_call_token_is_not_lost_where_there_is_no_slot(serve: Serve):
    served = await serve(slots=1, token=TOKEN, call_token_key=KEY)
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
    async with open_chat(served.chat + "?events=1", **as_browser(token)) as client:
        ready = await client.event("ready")
        client.abort()
    async with open_chat(f"{served.chat}?events=1&resume={ready['resume']}", **as_browser(token)) as again:
        assert (await again.event("ready"))["call"] == ready["call"]
        # Not one that the server would take for a new call.
        for query in ("?resume=abc", "?events=0&resume=abc", "?events=1", "?events=1&events=0&resume=abc"):
            assert await refused(served.chat + query, **as_browser(token)) == (401, "token_used")
        asked = await ask(served, "/api/info?events=1&resume=abc", headers={"Authorization": f"Bearer {token}"})
        assert asked.json()["error"]["code"] == "token_used", "only a call goes on"
    async with open_chat(f"{served.chat}?events=1&resume=guessed", **as_browser(token)) as guess:
        assert (await guess.wait_closed())[0] == 1008
        assert (await guess.event("end"))["reason"] == "resume"


async def test_two_calls_at_the_same_moment_cannot_share_a_call_token(serve: Serve):
    served = await serve(slots=4, token=TOKEN, call_token_key=KEY)
    token = minted()

    async def call() -> str:
        try:
            async with open_chat(served.chat + "?events=1", **bearer(token)) as client:
                first = await asyncio.wait_for(_greeting_or_sentence(client), 30)
                await asyncio.sleep(0.2)
                return first
        except InvalidStatus as refusal:
            return json.loads(refusal.response.body or b"")["error"]["code"]

    answers = sorted(await asyncio.gather(*(call() for _ in range(4))))
    assert answers == ["greeted", *["token_used"] * 3]


async def _greeting_or_sentence(client: ChatClient) -> str:
    await client.handshake()
    return "greeted"


async def test_pages_of_other_sites_may_not_call(serve: Serve):
    served = await serve()
    async with unaffected_neighbour(served):
        for origin in ("https://evil.test", "null", "http://127.0.0.1:1", "http://localhost"):
            assert await refused(served.chat, origin=origin) == (403, "origin")
            assert await refused(served.chat + "?events=1", origin=origin) == (403, "origin")
            assert (await ask(served, "/api/info", headers={"Origin": origin})).status_code == 403
        async with open_chat(served.chat, origin=served.http) as client:
            await client.handshake()


async def test_pages_of_allowed_sites_may(serve: Serve):
    shop = "https://shop.example"
    served = await serve(allowed_origin=shop, token=TOKEN)
    async with open_chat(served.chat, origin=shop, **as_browser(TOKEN)) as client:
        await client.handshake()
    answer = await ask(served, "/api/info", headers={"Origin": shop})
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
    assert f"frame-ancestors 'self' {shop}" in (await ask(served, "/")).headers["Content-Security-Policy"]
    assert await refused(served.chat, origin="https://evil.test", **as_browser(TOKEN)) == (403, "origin")


async def test_a_name_that_was_made_to_point_here_opens_nothing(serve: Serve):
    served = await serve()
    rebound = {"Host": f"evil.test:{served.port}"}
    async with unaffected_neighbour(served):
        for path in ("/", "/page/main.js", "/api/info", "/metrics"):
            assert (await ask(served, path, headers=rebound)).status_code == 403
        # As a browser sends it: the same name twice.
        assert await refused(
            f"ws://evil.test:{served.port}/api/chat", host="127.0.0.1", origin=f"http://evil.test:{served.port}"
        ) == (403, "host")
        for path in ("/healthz", "/readyz"):
            assert (await ask(served, path, headers=rebound)).status_code == 200


async def test_a_server_that_asks_for_a_token_may_have_any_name(serve: Serve):
    served = await serve(token=TOKEN)
    host = {"Host": "gpu-box.lan"}
    assert (await ask(served, "/", headers=host)).status_code == 200
    assert (await ask(served, "/api/info", headers=host)).status_code == 401
    assert (await ask(served, "/api/info", headers={**host, **BEARER})).status_code == 200


async def test_public_calls_are_open_and_the_metrics_are_not(serve: Serve):
    served = await serve(public=True, token=TOKEN)
    async with open_chat(served.chat) as client:
        await client.handshake()
    assert (await ask(served, "/api/info")).status_code == 200
    assert (await ask(served, "/metrics")).status_code == 401
    assert (await ask(served, "/metrics", headers=BEARER)).status_code == 200


async def test_behind_a_trusted_proxy_the_callers_address_counts(serve: Serve):
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
        # Who is not trusted may say what they like.
        await first.socket.close()
        await wait_until(lambda: served.service.running <= 2)
        async with open_chat(served.chat, **through_proxy("192.0.2.7")) as again:
            await again.handshake()


async def test_what_a_peer_who_is_no_proxy_says_of_itself_is_not_believed(serve: Serve):
    served = await serve(trusted_proxy="192.0.2.1", max_calls_per_caller=1)
    claim: dict[str, Any] = {"additional_headers": {"X-Forwarded-For": "192.0.2.7"}}
    async with open_chat(served.chat, **claim) as one, open_chat(served.chat, **claim) as two:
        await one.handshake()
        await two.handshake()  # both are from this machine, whose calls are not counted


async def test_every_answer_tells_browsers_to_be_careful(serve: Serve):
    served = await serve(token=TOKEN)
    for path in ("/", "/page/main.js", "/client/net/worker.js", "/api/info", "/healthz", "/none"):
        headers = (await ask(served, path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'self'" in policy
        assert "unsafe-inline" not in policy and "'unsafe-eval'" not in policy
