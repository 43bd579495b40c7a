"""Whose requests each route answers, however its path is spelled; and what a path says that is none."""

from __future__ import annotations

import logging

import httpx
import pytest
from starlette.routing import Route, WebSocketRoute

from server.access.levels import Access, access_of, find_route
from server.dialects.registry import DIALECTS
from server.errors import PathNotFound
from server.http.app import WEB
from server.http.page import PageRoute
from server.http.routes import routes
from tests.server.access.test_middleware import BEARER, TOKEN, bearer, get, refused
from tests.server.chat_client import open_chat
from tests.server.conftest import Serve
from tests.server.transport.handshakes import UPGRADE, exchange, head
from tests.server.transport.test_handshake import SECURITY_HEADERS

SPELLINGS = [
    *("%0A", "%0D", "%00", "%09", "%85", "%C2%85", "%E2%80%A8", "%7F", "%FF", "%1f"),
    *("%2F", "%2f", "%5C", "\\", "/.", "/..", "/%2e", ";", ";a=b", "%3B", "%3F", "%23", "%20", ".", "%252F"),
]


@pytest.mark.parametrize("public", [False, True])
async def test_no_spelling_of_a_guarded_path_needs_no_token(serve: Serve, public: bool):
    served = await serve(token=TOKEN, public=public)
    guarded = ["/metrics"] if public else ["/metrics", "/api/info", "/api/chat", "/api/none"]
    for path in guarded:
        for spelled in (path, "/" + path, path + "/", path + "//", path.replace("/", "///")):
            answer = await exchange(served.port, head(spelled, "Connection: close"))
            assert answer.status == 401, spelled
    for path in (*guarded, "/healthz", "/", "/page/main.js", "/api"):
        for suffix in SPELLINGS:
            for spelled in (path + suffix, suffix + path, "/" + suffix + path):
                answer = await exchange(served.port, head(spelled, "Connection: close"))
                assert answer.status in (400, 401, 404), spelled
                assert not answer.body or b"error" in answer.body, spelled


def test_route_that_declares_nothing_is_the_operators():
    async def forgotten() -> None: ...

    assert access_of(Route("/new", forgotten)) is Access.OPERATOR
    assert access_of(WebSocketRoute("/new", forgotten)) is Access.OPERATOR


def test_only_the_page_and_the_probes_are_open():
    table = [PageRoute(WEB), *routes(DIALECTS)]
    opened = {getattr(route, "path", "page") for route in table if access_of(route) in (Access.PAGE, Access.PROBE)}
    assert opened == {"page", "/healthz", "/readyz"}
    with pytest.raises(PathNotFound, match="/api/chat"):
        find_route(table, {"type": "websocket", "path": "/healthz", "root_path": ""})


@pytest.mark.parametrize("path", ["/v1/realtime", "/ws", "/", "/metrics", "/api/chats", "/api/info", "/api/chat%0A"])
async def test_unknown_websocket_path_is_answered_404_with_the_paths_that_exist(
    serve: Serve, caplog: pytest.LogCaptureFixture, path: str
):
    caplog.set_level(logging.INFO)
    served = await serve(token=TOKEN)
    for options in ({}, bearer(TOKEN)):
        assert await refused(f"ws://127.0.0.1:{served.port}{path}", **options) == (404, "path")
    answer = await exchange(served.port, head(path, *UPGRADE))
    assert "%" in path or "/api/chat." in answer.error["message"]
    assert answer.headers.keys() >= SECURITY_HEADERS
    assert [record for record in caplog.records if getattr(record, "reason", "") == "path"]


@pytest.mark.parametrize("path", ["/api/chat/", "//api/chat", "/api//chat//", "///api/chat?events=0"])
async def test_path_of_calls_with_extra_slashes_is_served(serve: Serve, path: str):
    served = await serve()
    async with open_chat(f"ws://127.0.0.1:{served.port}{path}") as client:
        await client.handshake()


async def test_body_sent_to_an_unknown_path_is_answered_404_and_the_connection_closed(serve: Serve):
    served = await serve()
    for lines in (["Content-Length: 1000"], ["Transfer-Encoding: chunked"]):
        answer = await exchange(served.port, head("/v1/audio/speech", *lines, method="POST"))
        assert answer.status == 404 and answer.error["code"] == "path"
        assert answer.headers["connection"] == "close"


async def test_request_to_the_path_of_calls_without_an_upgrade_is_told_of_proxies(serve: Serve):
    served = await serve(token=TOKEN)
    told = "This is a WebSocket endpoint; a proxy in between may not pass WebSockets."
    for lines in (["Authorization: Bearer " + TOKEN], [f"Sec-WebSocket-Protocol: parley, parley.token.{TOKEN}"]):
        answer = await exchange(served.port, head("/api/chat?events=1", *lines, "Connection: close"))
        assert (answer.status, answer.error["message"]) == (426, told)
        assert answer.headers["upgrade"] == "websocket"


async def test_no_response_redirects_to_what_a_client_sent(serve: Serve):
    served = await serve()
    for path in (
        "/ui/..",
        "/page",
        "/page/",
        "/page/..",
        "//evil.test",
        "//evil.test/..",
        "/api/info/",
        "/client/net/",
    ):
        answer = await exchange(served.port, head(path, "Connection: close").replace(b"localhost", b"evil.localhost"))
        assert answer.status in (200, 404) and "location" not in answer.headers
        assert "evil" not in str(answer)


async def test_error_pages_and_preflights_have_the_security_headers(serve: Serve):
    served = await serve(allowed_origin="https://shop.example")
    preflight = ["Origin: https://shop.example", "Access-Control-Request-Method: GET"]
    requests = {
        404: head("/none", "Connection: close"),
        405: head("/healthz", "Connection: close", method="DELETE"),
        413: head("/healthz", "Content-Length: 1", method="POST"),
        403: head("/api/info", "Origin: https://evil.test", "Connection: close"),
        200: head("/api/info", *preflight, "Connection: close", method="OPTIONS"),
        400: b"nonsense\r\n\r\n",
    }
    for status, request in requests.items():
        answer = await exchange(served.port, request)
        assert answer.status == status and answer.headers.keys() >= SECURITY_HEADERS


async def test_preflight_passes_the_access_rules_first(serve: Serve):
    served = await serve(allowed_origin="https://shop.example")
    preflight = ["Origin: https://shop.example", "Access-Control-Request-Method: GET"]
    foreign = head("/api/info", *preflight, "Connection: close", method="OPTIONS")
    foreign = foreign.replace(b"localhost", b"evil.test")
    answer = await exchange(served.port, foreign)
    assert answer.status == 403 and answer.error["code"] == "host"
    for body in ("Content-Length: 1000", "Transfer-Encoding: chunked"):  # dripped for ever
        answer = await exchange(served.port, head("/api/info", *preflight, body, method="OPTIONS"))
        assert answer.status == 413


async def test_failing_route_is_answered_500_with_the_security_headers(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("server.http.prometheus.PrometheusExporter.render", fail)
    served = await serve()
    answer = await exchange(served.port, head("/metrics", "Connection: close"))
    assert answer.status == 500 and answer.headers.keys() >= SECURITY_HEADERS


CROSS = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}


async def test_page_of_another_site_gets_nothing_but_a_link_to_the_page(serve: Serve):
    served = await serve()
    for path in ("/", "/page/main.js", "/api/info", "/metrics", "/healthz", "/api/chat"):
        answer = await get(served, path, headers=CROSS)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin"), path
    navigation = {**CROSS, "Sec-Fetch-Mode": "navigate"}
    assert (await get(served, "/", headers=navigation)).status_code == 200
    for path in ("/api/info", "/metrics", "/healthz", "/page/main.js"):
        assert (await get(served, path, headers=navigation)).status_code == 403


async def test_page_of_an_allowed_site_gets_the_embeddable_client(serve: Serve):
    served = await serve(allowed_origin="https://shop.example")
    asks = {**CROSS, "Origin": "https://shop.example"}
    answer = await get(served, "/client/parley.js", headers=asks)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, "https://shop.example")
    assert (await get(served, "/client/parley.js", headers={**CROSS, "Origin": "https://evil.test"})).status_code == 403


async def test_proxy_that_rewrites_host_serves_the_page_but_no_call(serve: Serve):
    served = await serve()
    through_proxy = {"Host": "upstream.test", "Origin": "https://talk.example", "Sec-Fetch-Site": "same-origin"}
    for path in ("/", "/page/main.js"):
        assert (await get(served, path, headers=through_proxy)).status_code == 200
    assert (await get(served, "/api/info", headers=through_proxy)).status_code == 403
    assert await refused(served.chat, origin="https://talk.example") == (403, "origin")


async def test_refused_origin_and_host_are_logged_once_a_minute_with_the_flag(
    serve: Serve, caplog: pytest.LogCaptureFixture
):
    served = await serve()
    for _ in range(3):
        await refused(served.chat, origin="https://talk.example")
        await get(served, "/api/info", headers={"Host": "talk.example:8998"})
    logged = [record for record in caplog.records if hasattr(record, "flag")]
    assert [vars(record)["flag"] for record in logged] == [
        "--allowed-origin https://talk.example",
        "--allowed-host talk.example",
    ]
    assert vars(logged[0])["origin"] == "https://talk.example" and vars(logged[1])["host"] == "talk.example:8998"


ACCEPTS = [
    *("application/openmetrics-text; version=x", "text/plain; version=x", "text/plain;version=", "text/plain;version"),
    *("application/openmetrics-text;version=99999.0.0.0", "text/plain; version=1.0.0; escaping=x", ",;=,", "\xff"),
    *("application/openmetrics-text;version=1.0.0;escaping=\x80", "text/plain;version=1!1", "*/*;q=" + "9" * 5000),
]


async def test_metrics_are_sent_whatever_is_accepted(serve: Serve):
    served = await serve(token=TOKEN)
    for accept in ACCEPTS:
        answer = await get(served, "/metrics", headers=[("Accept", accept.encode("latin-1")), *BEARER.items()])  # type: ignore[arg-type]
        assert answer.status_code == 200 and b"parley_ready" in answer.content, accept
        assert (
            "x" not in answer.headers["Content-Type"].replace("text", "") and "99" not in answer.headers["Content-Type"]
        )


async def test_requests_of_one_address_are_limited_and_others_are_served(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("server.access.request_limits.BURST", 30.0)
    monkeypatch.setattr("server.access.request_limits.REQUESTS_PER_S", 1.0)
    served = await serve()

    def sent_from(address: str) -> dict[str, str]:
        return {"X-Forwarded-For": address}

    async with httpx.AsyncClient(base_url=served.http) as http_client:
        statuses = [
            (await http_client.get(path, headers=sent_from("192.0.2.7"))).status_code
            for path in ("/metrics", *("/healthz",) * 40)
        ]
        assert statuses[0] == 200 and statuses[-1] == 429
        refusal = await http_client.get("/page/main.js", headers=sent_from("192.0.2.7"))
        assert refusal.json()["error"]["code"] == "requests" and refusal.headers["Retry-After"]
        assert (await http_client.get("/healthz", headers=sent_from("192.0.2.8"))).status_code == 200
    async with open_chat(served.chat) as client:
        await client.handshake()
