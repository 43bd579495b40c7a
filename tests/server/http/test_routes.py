"""Routes of the page and of load balancers."""

from __future__ import annotations

import asyncio
import json
import urllib.request

import pytest

from tests.server.chat_client import TIMEOUT_S
from tests.server.conftest import Serve
from tests.server.server_process import get


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/api/info", "/"])
async def test_head_request_is_answered_like_get_without_a_body(serve: Serve, path: str):
    served = await serve()
    request = urllib.request.Request(served.http + path, method="HEAD")
    with await asyncio.to_thread(urllib.request.urlopen, request, timeout=TIMEOUT_S) as response:
        assert response.status == 200 and int(response.headers["Content-Length"]) > 0
        assert response.read() == b""


async def test_page_files_have_their_media_types_and_no_cache(serve: Serve):
    served = await serve()
    status, media_type, _ = await asyncio.to_thread(get, served.http + "/")
    assert status == 200 and media_type.startswith("text/html")
    status, media_type, _ = await asyncio.to_thread(get, served.http + "/page/main.js")
    assert status == 200 and media_type.startswith("text/javascript")
    with await asyncio.to_thread(urllib.request.urlopen, served.http + "/page/main.js") as response:
        assert response.headers["Cache-Control"] == "no-cache"
    assert (await asyncio.to_thread(get, served.http + "/../pyproject.toml"))[0] == 404
    assert (await asyncio.to_thread(get, served.http + "/%2e%2e/pyproject.toml"))[0] == 404


async def test_info_says_what_one_can_ask_and_how_far_the_model_lags(serve: Serve):
    served = await serve()
    info = json.loads((await asyncio.to_thread(get, served.http + "/api/info"))[2])
    assert (info["examples"], info["delay_frames"]) == ([], 0)  # of the echo
