"""The HTTP surface: the call, what the page asks before it dials, and what a load balancer asks."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse, Response

import server
from server.audio.framing import FRAME_S, SAMPLE_RATE_HZ
from server.connection import Connection
from server.exposition import Exposition
from server.reception import Reception

router = APIRouter()
_READ = ["GET", "HEAD"]  # load balancers may ask without wanting the body


def _reception(app: FastAPI) -> Reception:
    return app.state.reception


@router.websocket("/api/chat")
async def chat(socket: WebSocket) -> None:
    """A call, in Kyutai's protocol."""
    await Connection(socket, _reception(socket.app), socket.app.state.doors).run()


@router.api_route("/api/info", methods=_READ)
async def info(request: Request) -> dict[str, Any]:
    """Who answers here, how many can call, and how it goes."""
    reception = _reception(request.app)
    settings = reception.settings
    limits = ("max_waiting", "max_call_s", "first_audio_s", "quiet_s", "resume_s")
    return {
        "name": "Parley",
        "model": reception.card.name,
        "demo": reception.card.demo,
        "notice": reception.card.notice,
        "status": reception.status,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "frame_ms": round(FRAME_S * 1000),
        "slots": reception.slots,
        "running": reception.running,
        "parked": reception.parked,
        "waiting": reception.waiting,
        "limits": {name: getattr(settings, name) for name in limits},
        "voices": [],
        "prompts": [],
        "params": dict(reception.card.params),
        "records": settings.record is not None,
        "version": server.__version__,
        "counts": dict(reception.counts),
        "timings": reception.metrics.timings_ms(),
    }


@router.api_route("/metrics", methods=_READ)
async def metrics(request: Request) -> Response:
    """The same and more, for Prometheus."""
    exposition: Exposition = request.app.state.exposition
    page, media_type = exposition.render(request.headers.get("accept", ""))
    return Response(page, headers={"Content-Type": media_type})


@router.api_route("/healthz", methods=_READ)
async def healthz() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok"}


@router.api_route("/readyz", methods=_READ)
async def readyz(request: Request) -> JSONResponse:
    """200 while calls are taken: warm, neither stopping nor failed. A full server is ready."""
    reception = _reception(request.app)
    if reception.status == "ready":
        return JSONResponse({"status": "ready", "model": reception.card.name, "notice": reception.card.notice})
    return JSONResponse({"status": reception.status, "reason": reception.reason}, 503)
