"""The routes: a WebSocket endpoint for each dialect, `/api/info`, `/metrics`, and the probes of load balancers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

import server
from server.access.levels import Access, requires
from server.access.responses import error_response
from server.audio.framing import FRAME_S, SAMPLE_RATE_HZ
from server.calls.connection import Connection
from server.calls.service import Service
from server.dialects.dialect import Dialect
from server.errors import PathNotFound, UpgradeRequired
from server.http.prometheus import PrometheusExporter

_READ = ["GET", "HEAD"]  # load balancers may send HEAD


def routes(dialects: Iterable[type[Dialect]]) -> list[BaseRoute]:
    """Every route but the page's files. Each endpoint declares whose requests it answers (`requires`)."""
    return [
        *(route for dialect in dialects for route in _dialect_routes(dialect)),
        Route("/healthz", healthz, methods=_READ),
        Route("/readyz", readyz, methods=_READ),
        Route("/api/info", info, methods=_READ),
        Route("/metrics", metrics, methods=_READ),
        Route("/api/{rest:path}", unknown, methods=_READ),
    ]


def _dialect_routes(dialect: type[Dialect]) -> list[BaseRoute]:
    """The WebSocket endpoint of a dialect, and what its path says to a request that was not upgraded."""

    @requires(Access.CALLER)
    async def serve(socket: WebSocket) -> None:
        await Connection(socket, _service(socket.app), socket.app.state.policy, dialect).run()

    return [WebSocketRoute(dialect.path, serve), Route(dialect.path, upgrade_required, methods=_READ)]


@requires(Access.CALLER)
async def upgrade_required(request: Request) -> Response:
    """426: what the server sees where a proxy in between drops the upgrade."""
    return error_response(UpgradeRequired("This is a WebSocket endpoint; a proxy in between may not pass WebSockets."))


@requires(Access.CALLER)
async def unknown(request: Request) -> Response:
    """404, but only for who may ask for anything below /api/."""
    return error_response(PathNotFound("There is nothing at this path. Below /api/ there is /api/info."))


def _service(app: Starlette) -> Service:
    return app.state.service


@requires(Access.CALLER, cost=10)
async def info(request: Request) -> Response:
    """The model, the limits, the load, the counters and the durations in ms."""
    service = _service(request.app)
    settings = service.settings
    limits = ("max_waiting", "max_call_s", "first_audio_s", "quiet_s", "resume_s")
    about: dict[str, Any] = {
        "name": "Parley",
        "model": service.card.name,
        "demo": service.card.demo,
        "notice": service.card.notice,
        "status": service.status,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "frame_ms": round(FRAME_S * 1000),
        "slots": service.slots,
        "running": service.running,
        "parked": service.parked,
        "waiting": service.waiting,
        "limits": {name: getattr(settings, name) for name in limits},
        "voices": [],
        "prompts": [],
        "params": dict(service.card.params),
        "examples": list(service.card.examples),
        "delay_frames": service.card.delay_frames,
        "records": settings.record is not None,
        "version": server.__version__,
        "counts": {**service.counts, "refused": service.metrics.refused.total()},
        "timings": service.metrics.timings_ms(),
    }
    return JSONResponse(about)


@requires(Access.OPERATOR, cost=10)
async def metrics(request: Request) -> Response:
    """All metrics, for Prometheus."""
    exporter: PrometheusExporter = request.app.state.exporter
    body, media_type = exporter.render(request.headers.get("accept", ""))
    return Response(body, headers={"Content-Type": media_type})


@requires(Access.PROBE)
async def healthz(request: Request) -> Response:
    """200 while the process is alive."""
    return JSONResponse({"status": "ok"})


@requires(Access.PROBE)
async def readyz(request: Request) -> JSONResponse:
    """200 while the server accepts calls: warm, neither stopping nor failed. A full server is ready. Else 503."""
    service = _service(request.app)
    if service.status == "ready":
        return JSONResponse({"status": "ready", "model": service.card.name, "notice": service.card.notice})
    return JSONResponse({"status": service.status, "reason": service.reason}, 503)
