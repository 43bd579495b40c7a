"""A Chromium that can import the modules of web/: the pure ones are tested in a browser, without node."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, async_playwright

from tests.web.chromium import Js, chromium

WEB = Path(__file__).parents[2] / "web"


class _QuietHandler(SimpleHTTPRequestHandler):
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".js": "text/javascript"}  # noqa: RUF012

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture(scope="session")
def web_url() -> Iterator[str]:
    """The files of web/, served as they are."""
    handler = partial(_QuietHandler, directory=str(WEB))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def page(web_url: str) -> AsyncIterator[Page]:
    """A page of the modules' origin on which no script runs."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        page = await browser.new_page()
        await page.goto(web_url + "page/fonts/OFL.txt")
        yield page
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def js(page: Page) -> Js:
    """``await js("/client/net/protocol.js", "m.decode(a)", a=…)``: a function body with module `m` and arguments."""

    async def run(module: str, body: str, **arguments: object) -> Any:
        names = ", ".join(arguments)
        source = f"async ({{{names}}}) => {{ const m = await import('{module}'); {body} }}"
        return await page.evaluate(source, arguments)

    return run
