"""The routes: a WebSocket endpoint for each dialect, `/api/info`, `/metrics`, and the probes of load balancers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from fastapi import APIRouter, FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse, Response

import server
from server.audio.framing import FRAME_S, SAMPLE_RATE_HZ
from server.calls.connection import Connection
from server.calls.service import Service
from server.dialects.dialect import Dialect
from server.http.prometheus import PrometheusExporter

router = APIRouter()
_READ = ["GET", "HEAD"]  # load balancers may send HEAD


def add_dialects(app: FastAPI, dialects: Iterable[type[Dialect]]) -> None:
    """Add a WebSocket endpoint for each dialect, at its path."""
    for dialect in dialects:
        app.add_api_websocket_route(dialect.path, _endpoint(dialect))


def _endpoint(dialect: type[Dialect]) -> Callable[[WebSocket], Awaitable[None]]:
    async def serve(socket: WebSocket) -> None:
        await Connection(socket, _service(socket.app), socket.app.state.policy, dialect).run()

    return serve


def _service(app: FastAPI) -> Service:
    return app.state.service


@router.api_route("/api/info", methods=_READ)
async def info(request: Request) -> dict[str, Any]:
    """The model, the limits, the load, the counters and the durations in ms."""
    service = _service(request.app)
    settings = service.settings
    limits = ("max_waiting", "max_call_s", "first_audio_s", "quiet_s", "resume_s")
    return {
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


@router.api_route("/metrics", methods=_READ)
async def metrics(request: Request) -> Response:
    """All metrics, for Prometheus."""
    exporter: PrometheusExporter = request.app.state.exporter
    body, media_type = exporter.render(request.headers.get("accept", ""))
    return Response(body, headers={"Content-Type": media_type})


@router.api_route("/healthz", methods=_READ)
async def healthz() -> dict[str, str]:
    """200 while the process is alive."""
    return {"status": "ok"}


@router.api_route("/readyz", methods=_READ)
async def readyz(request: Request) -> JSONResponse:
    """200 while the server accepts calls: warm, neither stopping nor failed. A full server is ready. Else 503."""
    service = _service(request.app)
    if service.status == "ready":
        return JSONResponse({"status": "ready", "model": service.card.name, "notice": service.card.notice})
    return JSONResponse({"status": service.status, "reason": service.reason}, 503)
