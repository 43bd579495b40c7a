"""`parley serve`: sockets, signals and the order in which the server comes up and goes down.

Up: bind, answer, load the model meanwhile. Down: refuse new callers, end the calls politely, close, stop
the engine.

The process ends with 0 after a signal, 1 when it could not start (the address, the model), 2 for a wrong setting, and
3 when the engine failed or hung while it served: only then is the same start again worth a try.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import get_args

import h11
import uvicorn
from pydantic import ValidationError
from uvicorn.protocols.http.h11_impl import H11Protocol

from server.app import create_app
from server.engine.echo_runner import EchoRunner
from server.engine.engine import THREAD_NAME as ENGINE_THREAD
from server.engine.runner import Runner
from server.logs import write_logs_as
from server.reception import Reception
from server.settings import SLOTS_WITHOUT_GPU, Settings
from server.wire.kyutai import MAX_MESSAGE_BYTES

log = logging.getLogger(__name__)

NOT_STARTED = 1
WRONG_SETTING = 2  # as argparse says it
FAILED = 3
_CLOSE_S = 1  # for sockets whose peers do not answer the close
REQUEST_HEAD_S = 10.0  # from the connection to the end of a request's head
_UNREAD_S = 20.0  # a peer whose window stays shut for this long is gone
_BACKLOG = 2048
_OPEN_FILES = 10_240  # macOS allows no more
_LOOPBACKS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # where every address is listened on
_SEND_BUFFER_BYTES = 65_536  # 10 s of speech: more would only hide that a caller does not read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one flag for each of the operator's settings."""
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f" (default {field.default})"
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            default=argparse.SUPPRESS,
            metavar=_metavar(name, get_args(field.annotation)),
            help=f"{field.description}{default}",
        )


def _metavar(name: str, choices: tuple[object, ...]) -> str:
    """What stands for a flag's value in the help: its choices, where it has any."""
    words = [choice for choice in choices if isinstance(choice, str)]
    return f"{{{','.join(words)}}}" if words else name.split("_")[-1].upper()


def run(args: argparse.Namespace) -> int:
    """Serve until a signal; the process's exit status."""
    flags = {name: value for name, value in vars(args).items() if name in Settings.model_fields}
    try:
        settings = Settings(**flags)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        # One for each kind of value that a setting may have.
        problems = [problem["msg"].removeprefix("Input ") for problem in error.errors() if problem["loc"][0] == name]
        print(
            f"parley: --{name.replace('_', '-')} (or PARLEY_{name.upper()}) {', or '.join(problems)}", file=sys.stderr
        )
        return WRONG_SETTING
    write_logs_as(settings.log_format)
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        print(f"parley: {_why_not_bound(settings, error)}", file=sys.stderr)
        return NOT_STARTED
    _allow_many_sockets()
    status = asyncio.run(serve(settings, runner_maker(settings), listener))
    if any(thread.name == ENGINE_THREAD for thread in threading.enumerate()):  # it hangs, and a device's last rites too
        logging.shutdown()
        os._exit(status)
    return status


def _why_not_bound(settings: Settings, error: OSError) -> str:
    """What is wrong with the address that was asked for, and what to do."""
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"{settings.host} is not an address of this machine. Choose another with --host; 0.0.0.0 is every one."
    return (
        f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}. "
        "Stop what uses it, or choose another with --port."
    )


def runner_maker(settings: Settings) -> Callable[[], Runner]:
    """What makes the runner that is asked for. Torch is imported when it is called, and not for the echo."""
    if settings.model == "echo":
        return lambda: EchoRunner(SLOTS_WITHOUT_GPU if settings.slots == "auto" else settings.slots)

    def load() -> Runner:
        from server.engine.moshi_runner import load_runner

        return load_runner(
            settings.model, settings.slots, settings.device, settings.dtype, settings.weights, settings.kv
        )

    return load


async def serve(settings: Settings, make_runner: Callable[[], Runner], listener: socket.socket) -> int:
    """Serve on `listener` until a signal or until the engine fails; the process's exit status."""
    reception = Reception(settings, make_runner)
    await PoliteServer(reception).serve(sockets=[listener])
    if not reception.failed.is_set():
        return 0
    return FAILED if reception.slots else NOT_STARTED


class ImpatientHttp(H11Protocol):
    """Uvicorn's HTTP, but who does not come to the end of a request's head is hung up on; it would wait for ever."""

    _hang_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._hang_up = self.loop.call_later(REQUEST_HEAD_S, transport.close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._be_patient()
        elif self._hang_up is None:  # the beginning of another request
            self._hang_up = self.loop.call_later(REQUEST_HEAD_S, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._be_patient()

    def _be_patient(self) -> None:
        if self._hang_up is not None:
            self._hang_up.cancel()
            self._hang_up = None


class PoliteServer(uvicorn.Server):
    """Uvicorn, but the first signal ends calls politely; it would close their sockets without a word."""

    def __init__(self, reception: Reception) -> None:
        super().__init__(
            uvicorn.Config(
                create_app(reception),
                http=ImpatientHttp,
                log_config=None,
                access_log=False,
                ws="websockets-sansio",
                ws_max_size=MAX_MESSAGE_BYTES,
                ws_per_message_deflate=False,  # Opus does not compress
                timeout_graceful_shutdown=_CLOSE_S,
            )
        )
        self._reception = reception
        self._loop = asyncio.get_running_loop()
        self._ending: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._failure = asyncio.create_task(self._end_on_failure())
        for listener in sockets or []:
            print(f"Parley is listening on {_where(*listener.getsockname()[:2])}", flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._ending is None and not self.should_exit:
            log.info("stopping", extra={"signal": signal.Signals(sig).name})
            self._loop.call_soon_threadsafe(self.end)
        else:
            self.should_exit = self.force_exit = True

    def end(self) -> None:
        """End all calls politely, then stop. Event loop only."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())

    async def _end(self) -> None:
        await self._reception.drain(self._reception.settings.drain_s)
        self.should_exit = True

    async def _end_on_failure(self) -> None:
        await self._reception.failed.wait()
        self.end()


def _where(host: str, port: int) -> str:
    """The address to open in a browser on this machine."""
    if host in _LOOPBACKS:
        return f"all addresses of this machine, here http://{_LOOPBACKS[host]}:{port}"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _allow_many_sockets() -> None:
    """Raise the soft limit on open files, often 1024: connections that never speak must not shut others out."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def listen(host: str, port: int) -> socket.socket:
    """A bound TCP socket. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, since asyncio turns Nagle's delay off only for sockets that say so.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Inherited by accepted sockets: a caller who stops reading is noticed, and holds no socket for ever.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(_UNREAD_S * 1000))
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
