"""`parley serve`: settings, the order of startup and shutdown, and the exit status.

Startup: listen, then load the model while `/api/info` and the probes answer. Shutdown: refuse new clients, drain the
calls, close the sockets, stop the engine.

The exit status is 0 after a signal, 1 if the server could not start (address, certificate, model), 2 for an invalid
setting, and 3 if the engine failed or hung while it served. Only after 3 can restarting help.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import os
import re
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import SettingsError

from server.access.policy import AccessPolicy
from server.access.security_headers import security_headers
from server.calls.service import Service
from server.dialects import registry
from server.engine.echo_runner import EchoRunner
from server.engine.engine import THREAD_NAME as ENGINE_THREAD
from server.engine.runner import Runner
from server.http.app import create_app
from server.logs import set_log_format
from server.metrics import Count
from server.sessions.recorder import CannotRecord
from server.settings import SLOTS_WITHOUT_GPU, Settings, unknown_variables
from server.transport.listener import ConnectionLimiter, Listener, listen, raise_open_files_limit
from server.transport.server import GracefulServer
from server.transport.tls import TlsUnavailable, tls_context

log = logging.getLogger(__name__)

NOT_STARTED = 1
INVALID_SETTING = 2  # argparse's own status too
ENGINE_FAILED = 3

_EPILOG = """Each flag but --verbose can also be set by an environment variable (--port: PARLEY_PORT) or a secret file
(--token: /run/secrets/parley_token); there, commas separate the values of a repeated flag. Flags override variables,
and variables override files."""


class AddressUnavailable(Exception):
    """The server cannot listen on its address. The message tells the operator why, and what to do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each field of `Settings`, in the groups that the fields name."""
    parser.usage = "%(prog)s [OPTIONS]"
    parser.epilog = _EPILOG
    groups: dict[str, argparse._ArgumentGroup] = {}
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra
        assert isinstance(extra, dict), f"{name} has no group"
        title = str(extra["group"])
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        _add_argument(groups[title], name, field, str(extra["placeholder"]))


def _add_argument(group: argparse._ArgumentGroup, name: str, field: FieldInfo, placeholder: str) -> None:
    flag = f"--{name.replace('_', '-')}"
    if field.annotation is bool:
        group.add_argument(flag, default=argparse.SUPPRESS, action="store_true", help=field.description)
        return
    default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
    group.add_argument(
        flag,
        default=argparse.SUPPRESS,
        action="append" if isinstance(field.default, tuple) else "store",
        metavar=_metavar(field.annotation, placeholder),
        help=field.description if default in (None, "") else f"{field.description} (default: {default})",
    )


def _metavar(annotation: Any, placeholder: str) -> str:
    """The value in the help: `placeholder`, or the choices of the Literals in `annotation`, as {auto,N}."""
    if choices := list(_choices(annotation)):
        return f"{{{','.join([*choices, placeholder] if placeholder else choices)}}}"
    return placeholder


def _choices(annotation: Any) -> Iterator[str]:
    """The values of a Literal, or of the Literals in a Union."""
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    else:
        for part in get_args(annotation):
            yield from _choices(part)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal or a failure. Returns the exit status."""
    try:
        settings = Settings(**_flags(args))
    except ValidationError as error:
        return _fail(INVALID_SETTING, _format_errors(error))
    except SettingsError as error:
        return _fail(INVALID_SETTING, f"cannot read the secrets: {error.__cause__ or error}.")
    set_log_format(settings.log_format)
    for sentence in unknown_variables(os.environ):
        log.warning("%s", sentence)
    try:
        tls = tls_context(settings)
        status = asyncio.run(serve(settings, runner_factory(settings), _listen(settings), tls))
    except (TlsUnavailable, AddressUnavailable, CannotRecord) as error:
        return _fail(NOT_STARTED, str(error))
    if any(thread.name == ENGINE_THREAD for thread in threading.enumerate()):
        # The engine thread hangs, and the device's cleanup at exit would hang too.
        logging.shutdown()
        os._exit(status)
    return status


def _flags(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given as flags; a repeated flag's values are joined by commas."""
    return {
        name: ",".join(value) if isinstance(value, list) else value
        for name, value in vars(args).items()
        if name in Settings.model_fields
    }


def _fail(status: int, message: str) -> int:
    print(f"parley: {message}", file=sys.stderr)
    return status


def _listen(settings: Settings) -> Listener:
    """Listen on the address of `settings`. Raises AddressUnavailable."""
    limiter = ConnectionLimiter(settings, raise_open_files_limit())
    try:
        return listen(settings.host, settings.port, limiter)
    except OSError as error:
        raise AddressUnavailable(_explain_bind_error(settings, error)) from error


def _format_errors(error: ValidationError) -> str:
    """A sentence about the first invalid setting, or about settings that contradict each other."""
    problems = [(problem["loc"], re.sub("^(Input|Value error,) ", "", problem["msg"])) for problem in error.errors()]
    if not (first := problems[0][0]):
        return problems[0][1]
    name = str(first[0])
    sentences = [sentence for where, sentence in problems if where[0] == name]  # one for each type of a Union
    return f"--{name.replace('_', '-')} (or PARLEY_{name.upper()}) {', or '.join(sentences)}"


def _explain_bind_error(settings: Settings, error: OSError) -> str:
    """A sentence that says why the address is unavailable, and what to do."""
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"{settings.host} is not an address of this machine. Choose another with --host, or 0.0.0.0 for all."
    remedy = (
        "Ports below 1024 need privileges: choose another with --port."
        if error.errno == errno.EACCES
        else "Stop the program that uses it, or choose another port with --port."
    )
    return f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}. {remedy}"


def runner_factory(settings: Settings) -> Callable[[], Runner]:
    """Return a function that makes the runner of `settings`. It imports torch when it is called, unless for echo."""
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
    """Serve on `listener` until a signal or until the engine fails. Returns the exit status. Raises CannotRecord."""
    service = Service(settings, make_runner)
    await make_server(service, listener, tls).serve(sockets=[listener])
    if not service.failed.is_set():
        return 0
    return ENGINE_FAILED if service.slots else NOT_STARTED


def make_server(service: Service, listener: Listener, tls: ssl.SSLContext | None = None) -> GracefulServer:
    """The HTTP server around `service`, which it starts and stops."""
    settings, policy = service.settings, AccessPolicy(service.settings)
    listener.on_rejected = lambda: service.metrics.add_counts({Count.CONNECTIONS_REFUSED: 1})
    return GracefulServer(
        create_app(service, policy),
        drain=lambda: service.drain(settings.drain_s),
        failed=service.failed,
        max_message_bytes=max(dialect.max_message_bytes for dialect in registry.DIALECTS),
        tls=tls,
        token=policy.generated_token,
        headers=security_headers(policy.framed_by),
    )
