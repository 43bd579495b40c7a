"""The ASGI application: routes, web page and middleware around the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from server.access.middleware import AccessMiddleware, IdentityMiddleware
from server.access.policy import AccessPolicy
from server.calls.service import Service
from server.dialects import registry
from server.http.page import PageRoute
from server.http.prometheus import PrometheusExporter
from server.http.routes import routes

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

    app = FastAPI(
        title="Parley",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # a redirect would name the host that the client claims; paths are normalized instead
        routes=[PageRoute(WEB), *routes(registry.DIALECTS)],
    )
    app.state.service = service
    app.state.exporter = PrometheusExporter(service)
    app.state.policy = policy
    refused = service.calls.note_refusal
    app.add_middleware(IdentityMiddleware, policy=policy, on_refused=refused)
    if origins := service.settings.allowed_origin:  # pages of these origins may read that a token is missing
        app.add_middleware(CORSMiddleware, allow_origins=origins, allow_headers=["Authorization"])
    # Outermost: preflights and pages of other sites pass no other rule first.
    app.add_middleware(AccessMiddleware, policy=policy, routes=app.routes, clock=service.clock, on_refused=refused)
    return app
