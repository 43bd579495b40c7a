"""`parley serve`: settings, the order in which the server comes up and goes down, and the exit status.

Up: bind, answer, load the model meanwhile. Down: refuse new clients, drain the calls, close, stop the engine.

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
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from typing import Any, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import SettingsError

from server.access.policy import AccessPolicy
from server.calls.service import Service
from server.dialects.kyutai_protocol import MAX_MESSAGE_BYTES
from server.engine.echo_runner import EchoRunner
from server.engine.engine import THREAD_NAME as ENGINE_THREAD
from server.engine.runner import Runner
from server.http.app import create_app
from server.logs import set_log_format
from server.metrics import Count
from server.sessions.recording import CannotRecord
from server.settings import SLOTS_WITHOUT_GPU, Settings, unknown_variables
from server.transport.listener import ConnectionLimiter, Listener, listen, raise_open_files_limit
from server.transport.server import GracefulServer
from server.transport.tls import TlsUnavailable, tls_context

log = logging.getLogger(__name__)

NOT_STARTED = 1
WRONG_SETTING = 2  # as argparse's own
FAILED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each of the operator's settings, in the settings' groups."""
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
        metavar=_metavar(get_args(field.annotation), placeholder),
        help=field.description if default in (None, "") else f"{field.description} (default: {default})",
    )


def _metavar(types: tuple[object, ...], placeholder: str) -> str:
    """What stands for a flag's value in the help: its choices, where it has any."""
    choices = [choice for choice in types if isinstance(choice, str)]
    return f"{{{','.join([*choices, *filter(None, [placeholder])])}}}" if choices else placeholder


def run(args: argparse.Namespace) -> int:
    """Serve until a signal; the process's exit status."""
    flags: dict[str, Any] = {
        name: ",".join(value) if isinstance(value, list) else value  # flags that were repeated
        for name, value in vars(args).items()
        if name in Settings.model_fields
    }
    try:
        settings = Settings(**flags)
    except ValidationError as error:
        print(f"parley: {_format_errors(error)}", file=sys.stderr)
        return WRONG_SETTING
    except SettingsError as error:
        print(f"parley: cannot read the secrets: {error.__cause__ or error}.", file=sys.stderr)
        return WRONG_SETTING
    set_log_format(settings.log_format)
    for sentence in unknown_variables(os.environ):
        log.warning("%s", sentence)
    try:
        tls = tls_context(settings)
        listener = listen(settings.host, settings.port, ConnectionLimiter(settings, raise_open_files_limit()))
    except TlsUnavailable as error:
        print(f"parley: {error}", file=sys.stderr)
        return NOT_STARTED
    except OSError as error:
        print(f"parley: {_explain_bind_error(settings, error)}", file=sys.stderr)
        return NOT_STARTED
    try:
        status = asyncio.run(serve(settings, runner_factory(settings), listener, tls))
    except CannotRecord as error:
        print(f"parley: {error}", file=sys.stderr)
        return NOT_STARTED
    if any(thread.name == ENGINE_THREAD for thread in threading.enumerate()):
        # It hangs, and so would the device's own clean-up at exit.
        logging.shutdown()
        os._exit(status)
    return status


def _format_errors(error: ValidationError) -> str:
    """The first wrong setting, or those that contradict each other."""
    problems = [(problem["loc"], re.sub("^(Input|Value error,) ", "", problem["msg"])) for problem in error.errors()]
    if not (first := problems[0][0]):
        return problems[0][1]
    name = str(first[0])
    sentences = [sentence for where, sentence in problems if where[0] == name]  # one for each type it may have
    return f"--{name.replace('_', '-')} (or PARLEY_{name.upper()}) {', or '.join(sentences)}"


def _explain_bind_error(settings: Settings, error: OSError) -> str:
    """What is wrong with the address that was asked for, and what to do."""
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"{settings.host} is not an address of this machine. Choose another with --host; 0.0.0.0 means all."
    remedy = (
        "Ports below 1024 need privileges: choose another with --port."
        if error.errno == errno.EACCES
        else "Stop the program that uses it, or choose another port with --port."
    )
    return f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}. {remedy}"


def runner_factory(settings: Settings) -> Callable[[], Runner]:
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
    """Serve on `listener` until a signal or until the engine fails; the process's exit status. Raises CannotRecord."""
    service = Service(settings, make_runner)
    await make_server(service, listener, tls).serve(sockets=[listener])
    if not service.failed.is_set():
        return 0
    return FAILED if service.slots else NOT_STARTED


def make_server(service: Service, listener: Listener, tls: ssl.SSLContext | None = None) -> GracefulServer:
    """The HTTP server around `service`, which starts and ends with it."""
    settings, policy = service.settings, AccessPolicy(service.settings)
    listener.on_rejected = lambda: service.metrics.add_counts({Count.CONNECTIONS_REFUSED: 1})
    return GracefulServer(
        create_app(service, policy),
        drain=lambda: service.drain(settings.drain_s),
        failed=service.failed,
        max_message_bytes=MAX_MESSAGE_BYTES,
        trusted_proxies=settings.trusted_proxy,
        tls=tls,
        token=policy.generated_token,
    )
