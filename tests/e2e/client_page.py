"""A page without scripts of its own, and a call of the embeddable client on it, whose events are kept."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Browser, Page

from tests.e2e.browser import open_page

TIMEOUT_MS = 30_000
# Makes a call that keeps all its events, and functions to wait for events and to read them.
CALL = """async (options) => {
  const { Parley } = await import(new URL('client/parley.js', options.url ?? location.href).href);
  const call = (window.call = new Parley(options.url, options));
  [window.seen, window.last] = [[], {}];
  window.until = async (test, timeoutMs) => {
    for (const end = performance.now() + timeoutMs; !test(); await new Promise((done) => setTimeout(done, 20)))
      if (performance.now() > end) throw new Error(`timed out: ${test}; ${JSON.stringify(window.last)}`);
  };
  window.details = (type) => window.seen.filter((event) => event.type === type).map(({ detail }) => detail);
  const types = ['state', 'ended', 'queue', 'text', 'level', 'delay', 'counts', 'device', 'devices',
    'echo', 'disconnected', 'resumed', 'recording'];
  for (const type of types) call.addEventListener(type, ({ detail }) => {
    window.last[type] = detail;
    window.seen.push({ type, detail });
  });
}"""


async def open_empty_page(pages: Browser, address: str, init: str = "", **options: Any) -> Page:
    """A page without scripts, and a call on it."""
    page = await open_page(pages, address, init=init)
    await page.evaluate(CALL, options)
    return page


async def start_call(page: Page) -> None:
    await page.evaluate("() => { call.start(); }")
    await until(page, "call.state === 'live'")


async def until(page: Page, condition: str) -> None:
    await page.evaluate(f"until(() => {condition}, {TIMEOUT_MS})")


async def details(page: Page, kind: str) -> list[Any]:
    return await page.evaluate("(kind) => details(kind)", kind)
