"""The ASGI application: routes, the web page and the life of the engine."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from server.access.middleware import AccessMiddleware
from server.access.policy import AccessPolicy
from server.calls.service import Service
from server.dialects import registry
from server.http.prometheus import PrometheusExporter
from server.http.routes import add_dialects, router

WEB = Path(__file__).resolve().parents[2] / "web"


def create_app(service: Service, policy: AccessPolicy) -> FastAPI:
    """The application around `service`, which starts and stops with it; all who come pass `policy`."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        watches = [asyncio.create_task(service.watch()), asyncio.create_task(service.metrics.measure_loop_lag())]
        yield
        for watch in watches:
            watch.cancel()
        service.stop()

    # Some systems' tables call a script text/plain, and browsers then refuse the module.
    for script in (".js", ".mjs"):
        mimetypes.add_type("text/javascript", script)
    mimetypes.add_type("application/wasm", ".wasm")
    mimetypes.add_type("application/manifest+json", ".webmanifest")
    app = FastAPI(title="Parley", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.service = service
    app.state.exposition = PrometheusExporter(service)
    app.state.policy = policy
    app.add_middleware(GZipMiddleware, compresslevel=6)  # the page is text but for its font; calls are not touched
    app.add_middleware(AccessMiddleware, policy=policy, on_refused=service.calls.note_refusal)
    if origins := service.settings.allowed_origin:  # outermost: their pages may read why they are turned away
        app.add_middleware(CORSMiddleware, allow_origins=origins, allow_headers=["Authorization"])
    add_dialects(app, registry.DIALECTS)
    app.include_router(router)
    app.mount("/", _Page(directory=WEB, html=True, check_dir=False))
    return app


class _Page(StaticFiles):
    """The static page; a browser asks each time whether it changed, so that an update is never half old."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response
