"""No path or name from a client reaches the disk, and weights cannot run code."""

from __future__ import annotations

import ast
import asyncio
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.server.chat_client import open_chat
from tests.server.conftest import Serve

ROOT = Path(__file__).parents[3]
SECRET = ROOT / "pyproject.toml"
TRAVERSALS = [
    "/../pyproject.toml",
    "/%2e%2e/pyproject.toml",
    "/..%2fpyproject.toml",
    "/page/../../pyproject.toml",
    "/page/%2e%2e%2f%2e%2e%2fpyproject.toml",
    "/..%5cpyproject.toml",
    "/%252e%252e/pyproject.toml",
    "/....//pyproject.toml",
    "/" + quote(str(SECRET), safe=""),
    "/" + str(SECRET),
    "/page/main.js%00.txt",
    "/%c0%ae%c0%ae/pyproject.toml",
    "/" + "a" * 5000,
    "/" + "../" * 500 + "pyproject.toml",
]


@pytest.mark.parametrize("path", TRAVERSALS, ids=range(len(TRAVERSALS)))
async def test_path_traversal_is_refused(serve: Serve, path: str):
    served = await serve()
    async with httpx.AsyncClient(base_url=served.http) as http_client:
        # httpx would normalize the path of a URL; a raw path is sent unchanged.
        request = http_client.build_request("GET", "/")
        request.url = httpx.URL(served.http).copy_with(raw_path=path.encode())
        answer = await http_client.send(request)
    assert answer.status_code in (400, 404, 405), answer.text
    assert "[project]" not in answer.text


async def test_names_in_the_query_of_a_call_open_no_file(serve: Serve):
    served = await serve()
    opened: list[str] = []
    is_watching = True

    def watch(event: str, args: tuple[object, ...]) -> None:
        if is_watching and event in {"open", "os.listdir", "os.scandir", "import"}:
            opened.append(f"{event} {args[0]}")

    sys.addaudithook(watch)  # it cannot be removed
    marker = "parley-hostile-name"
    names = (f"/tmp/{marker}", f"../../{marker}.pt", f"file:///{marker}", f"{marker}.safetensors")
    try:
        for parameter in ("voice_prompt", "text_prompt", "model", "resume", "token"):
            for name in names:
                with suppress(InvalidStatus):
                    async with open_chat(f"{served.chat}?events=1&{parameter}={quote(name)}") as client:
                        await client.event("end" if parameter == "resume" else "ready")
    finally:
        is_watching = False
    assert not [line for line in opened if marker in line]


def test_sources_use_no_loader_that_can_run_code():
    """safetensors, or torch.load with weights_only=True; never pickle."""
    for path in [*(ROOT / "server").rglob("*.py"), *(ROOT / "model").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not {"pickle", "dill", "joblib"} & {name.name for name in node.names}, path
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "load_pickle", "pickle.load"):
                keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert keywords.get("weights_only") == "True", f"{path}:{node.lineno}"


async def test_request_with_a_body_is_refused_at_once(serve: Serve):
    served = await serve()
    for head in (b"Content-Length: 1000000000\r\n", b"Transfer-Encoding: chunked\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"POST /healthz HTTP/1.1\r\nHost: here\r\n" + head + b"\r\n")
        async with asyncio.timeout(20):
            answer = await reader.read()  # returns once the connection is closed
        writer.close()
        assert answer.startswith(b"HTTP/1.1 413") and b'"code":"body"' in answer
