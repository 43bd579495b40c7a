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
import re
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import get_args

import uvicorn
from pydantic import ValidationError
from pydantic_settings import SettingsError

from server.app import create_app
from server.doors.address import announcement
from server.doors.doors import Doors
from server.doors.http import REQUEST_HEAD_S, ImpatientHttp
from server.doors.sockets import Crowd, Listener, allow_many_sockets, listen
from server.doors.tls import TlsUnavailable, tls_context
from server.doors.websocket import BoundedWebSocket
from server.engine.echo_runner import EchoRunner
from server.engine.engine import THREAD_NAME as ENGINE_THREAD
from server.engine.runner import Runner
from server.logs import write_logs_as
from server.reception import Reception
from server.recording import CannotRecord
from server.settings import SLOTS_WITHOUT_GPU, Settings, misspelt
from server.wire.kyutai import MAX_MESSAGE_BYTES

log = logging.getLogger(__name__)

NOT_STARTED = 1
WRONG_SETTING = 2  # as argparse says it
FAILED = 3
_ACCEPT_AT_ONCE = 64  # connections, before the loop turns to calls again
_CLOSE_S = 1  # for sockets whose peers do not answer the close


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one flag for each of the operator's settings."""
    for name, field in Settings.model_fields.items():
        flag = f"--{name.replace('_', '-')}"
        if field.annotation is bool:
            parser.add_argument(flag, default=argparse.SUPPRESS, action="store_true", help=field.description)
            continue
        default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        parser.add_argument(
            flag,
            default=argparse.SUPPRESS,
            metavar=_metavar(name, get_args(field.annotation)),
            help=field.description if default in (None, "") else f"{field.description} (default {default})",
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
        print(f"parley: {_what_is_wrong(error)}", file=sys.stderr)
        return WRONG_SETTING
    except SettingsError as error:
        print(f"parley: cannot read the secrets: {error.__cause__ or error}.", file=sys.stderr)
        return WRONG_SETTING
    write_logs_as(settings.log_format)
    for sentence in misspelt(os.environ):
        log.warning("%s", sentence)
    try:
        tls = tls_context(settings)
        listener = listen(settings.host, settings.port, Crowd(settings, allow_many_sockets()))
    except TlsUnavailable as error:
        print(f"parley: {error}", file=sys.stderr)
        return NOT_STARTED
    except OSError as error:
        print(f"parley: {why_not_bound(settings, error)}", file=sys.stderr)
        return NOT_STARTED
    try:
        status = asyncio.run(serve(settings, runner_maker(settings), listener, tls))
    except CannotRecord as error:
        print(f"parley: {error}", file=sys.stderr)
        return NOT_STARTED
    if any(thread.name == ENGINE_THREAD for thread in threading.enumerate()):  # it hangs, and a device's last rites too
        logging.shutdown()
        os._exit(status)
    return status


def _what_is_wrong(error: ValidationError) -> str:
    """The first setting that makes no sense, or those that contradict each other."""
    said = [(problem["loc"], re.sub("^(Input|Value error,) ", "", problem["msg"])) for problem in error.errors()]
    if not (first := said[0][0]):
        return said[0][1]
    name = str(first[0])
    problems = [sentence for where, sentence in said if where[0] == name]  # one for each kind of value it may have
    return f"--{name.replace('_', '-')} (or PARLEY_{name.upper()}) {', or '.join(problems)}"


def why_not_bound(settings: Settings, error: OSError) -> str:
    """What is wrong with the address that was asked for, and what to do."""
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"{settings.host} is not an address of this machine. Choose another with --host; 0.0.0.0 is every one."
    reserved = error.errno == errno.EACCES
    way_out = "Ports below 1024 are the system's:" if reserved else "Stop what uses it, or"
    return (
        f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}. "
        f"{way_out} choose another with --port."
    )


def runner_maker(settings: Settings) -> Callable[[], Runner]:
    """What makes the runner that is asked for. Torch is imported when it is called, and not for the echo."""
    if settings.model == "echo":
        return lambda: EchoRunner(SLOTS_WITHOUT_GPU if settings.slots == "auto" else settings.slots)

    def load() -> Runner:
        from server.engine.model_runner import load_runner

        return load_runner(
            settings.model,
            settings.slots,
            settings.device,
            settings.dtype,
            settings.quantization,
            settings.kv_cache_dtype,
        )

    return load


async def serve(
    settings: Settings, make_runner: Callable[[], Runner], listener: Listener, tls: ssl.SSLContext | None = None
) -> int:
    """Serve on `listener` until a signal or until the engine fails; the process's exit status."""
    reception = Reception(settings, make_runner)
    await PoliteServer(reception, tls).serve(sockets=[listener])
    if not reception.failed.is_set():
        return 0
    return FAILED if reception.slots else NOT_STARTED


class PoliteServer(uvicorn.Server):
    """Uvicorn, but the first signal ends calls politely; it would close their sockets without a word."""

    def __init__(self, reception: Reception, tls: ssl.SSLContext | None = None) -> None:
        self._doors = Doors(reception.settings)
        super().__init__(
            uvicorn.Config(
                create_app(reception, self._doors),
                http=ImpatientHttp,
                log_config=None,
                access_log=False,
                ssl_context_factory=(lambda *_: tls) if tls else None,
                forwarded_allow_ips=list(reception.settings.trusted_proxy),
                ws=BoundedWebSocket,
                ws_max_size=MAX_MESSAGE_BYTES,
                ws_per_message_deflate=False,  # Opus does not compress
                timeout_graceful_shutdown=_CLOSE_S,
            )
        )
        self._reception = reception
        self._loop = asyncio.get_running_loop()
        self._ending: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])  # but for listening: it would give every TLS handshake a minute
        self._failure = asyncio.create_task(self._end_on_failure())
        for listener in sockets or []:
            self.servers.append(await self._listen(listener))
            host, port = listener.getsockname()[:2]
            scheme = "https" if self.config.ssl else "http"
            print(announcement(host, port, scheme, self._doors.made_token), flush=True)

    async def _listen(self, listener: socket.socket) -> asyncio.Server:
        if isinstance(listener, Listener):
            listener.on_turned_away = lambda: self._reception.metrics.add_counts({"turned_away": 1})

        def make_protocol() -> ImpatientHttp:
            return ImpatientHttp(self.config, self.server_state, self.lifespan.state)

        tls = self.config.ssl
        bounds = {"ssl_handshake_timeout": REQUEST_HEAD_S, "ssl_shutdown_timeout": _CLOSE_S} if tls else {}
        return await self._loop.create_server(make_protocol, sock=listener, ssl=tls, backlog=_ACCEPT_AT_ONCE, **bounds)

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
