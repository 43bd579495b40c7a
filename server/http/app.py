"""The ASGI application: routes, web page and middleware around the service."""

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
    """The application around `service`, which it starts and stops; `policy` decides about every request."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        background = [asyncio.create_task(service.watch()), asyncio.create_task(service.metrics.measure_loop_lag())]
        yield
        for task in background:
            task.cancel()
        service.stop()

    # Some systems' tables map scripts to text/plain, and browsers refuse such modules.
    for script in (".js", ".mjs"):
        mimetypes.add_type("text/javascript", script)
    mimetypes.add_type("application/wasm", ".wasm")
    mimetypes.add_type("application/manifest+json", ".webmanifest")
    app = FastAPI(title="Parley", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.service = service
    app.state.exporter = PrometheusExporter(service)
    app.state.policy = policy
    app.add_middleware(GZipMiddleware, compresslevel=6)  # of the page; WebSockets are not affected
    app.add_middleware(AccessMiddleware, policy=policy, on_refused=service.calls.note_refusal)
    if origins := service.settings.allowed_origin:  # outermost: pages of these origins may read refusals
        app.add_middleware(CORSMiddleware, allow_origins=origins, allow_headers=["Authorization"])
    add_dialects(app, registry.DIALECTS)
    app.include_router(router)
    app.mount("/", _PageFiles(directory=WEB, html=True, check_dir=False))
    return app


class _PageFiles(StaticFiles):
    """The page's static files. Browsers revalidate them each time, so that no update mixes with old files."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response
