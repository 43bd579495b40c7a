"""The undocumented attributes of libraries that the server uses still exist.

pyproject.toml bounds these libraries from above. Run this file before you raise a bound: it names what is missing.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import inspect
import platform
from asyncio import selector_events, sslproto
from collections.abc import Callable
from operator import attrgetter
from typing import Any, cast

import huggingface_hub
import pytest
import uvicorn
from huggingface_hub import file_download, utils
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets import http11

from tests.server.chat_client import wait_until

HTTP = (
    "loop transport app_state cycle config connections headers server_state.default_headers conn.their_state "
    "conn.our_state conn.trailing_data conn.send flow.read_paused connection_made data_received connection_lost "
    "handle_events handle_websocket_upgrade send_400_response"
)
WEBSOCKET = (
    "transport loop handshake_initiated conn.reject conn.send_response conn.fail conn.data_to_send conn.close_rcvd "
    "queue.qsize queue.put_nowait frames read_paused close_sent handshake_complete connection_lost connection_made "
    "data_received handle_ping handle_pong handle_cont handle_parser_exception "
    "send_receive_event_to_app"
)
SERVER = "config.ssl server_state lifespan.state servers should_exit force_exit startup handle_exit"
DOWNLOAD = "http_get hf_hub_url get_hf_file_metadata repo_folder_name"
HTTP_GET = "url temp_file resume_size headers expected_size displayed_filename tqdm_class"
CACHE_PATHS = "HF_HUB_CACHE HF_HUB_OFFLINE"


def demand(library: str, owner: str, thing: object, names: str) -> None:
    """Fail with the first of `names`, which may be dotted, that `thing` does not have."""
    version = platform.python_version() if library == "Python" else importlib.metadata.version(library)
    for name in names.split():
        try:
            attrgetter(name)(thing)
        except AttributeError:
            pytest.fail(f"{owner}.{name}, which the server uses, is missing from {library} {version}.", pytrace=False)


def config() -> uvicorn.Config:
    async def app(scope: object, receive: object, send: object) -> None: ...

    made = uvicorn.Config(app, interface="asgi3", lifespan="off", log_config=None)
    made.load()
    return made


@pytest.mark.parametrize(("protocol", "names"), [(H11Protocol, HTTP), (WebSocketsSansIOProtocol, WEBSOCKET)])
async def test_uvicorn_protocols_have_the_used_attributes(protocol: Callable[..., Any], names: str):
    made = protocol(config(), ServerState(), {})
    if protocol is H11Protocol:
        made.flow = made.cycle = FlowControl(cast("asyncio.Transport", None))  # what it gets with a connection
        made.headers = []
    demand("uvicorn", protocol.__name__, made, names)


def test_websockets_parser_has_the_bounds_that_are_set():
    """Setting bounds that websockets no longer reads would raise nothing."""
    demand("websockets", "http11", http11, "MAX_LINE_LENGTH MAX_NUM_HEADERS")
    parser = inspect.getsource(http11.parse_line) + inspect.getsource(http11.parse_headers)
    assert "MAX_LINE_LENGTH" in parser and "MAX_NUM_HEADERS" in parser


async def test_uvicorn_server_has_the_used_attributes():
    server = uvicorn.Server(config())
    serving = asyncio.create_task(server.serve(sockets=[]))
    try:
        await wait_until(lambda: server.started or serving.done())
        demand("uvicorn", "Server", server, SERVER)
    finally:
        server.should_exit = True
        await serving


def test_huggingface_hub_has_the_used_attributes():
    demand("huggingface_hub", "huggingface_hub", huggingface_hub, "_CACHED_NO_EXIST")
    demand("huggingface_hub", "huggingface_hub.constants", huggingface_hub.constants, CACHE_PATHS)
    demand("huggingface_hub", "huggingface_hub.file_download", file_download, DOWNLOAD)
    demand("huggingface_hub", "huggingface_hub.utils", utils, "WeakFileLock build_hf_headers")
    missing = set(HTTP_GET.split()) - set(inspect.signature(file_download.http_get).parameters)
    version = importlib.metadata.version("huggingface_hub")
    assert not missing, f"http_get of huggingface_hub {version} has no parameters {missing}, which the server gives it."


def test_asyncio_transports_have_the_used_attributes():
    """The server sets these attributes; setting one that asyncio no longer reads would raise nothing."""
    demand("Python", "asyncio.selector_events", selector_events, "_SelectorTransport.max_size")
    demand("Python", "asyncio.sslproto", sslproto, "SSLProtocol.max_size")
    private: Any = sslproto
    transport = private._SSLProtocolTransport(None, None)
    transport._closed = True  # otherwise it warns that it was not closed
    demand("Python", "_SSLProtocolTransport", transport, "_ssl_protocol")
