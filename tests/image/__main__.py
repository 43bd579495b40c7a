"""`make image-check`: build the CPU image from Debian's mirror and pip's index alone, and check how it runs.

Each check prints a line; the first failure ends the run.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from urllib.request import urlopen

from tests.image.podman import ROOT, build, inspect, podman, remove, start

IMAGE = "localhost/parley:cpu"
NAME = "parley-image-check"
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 10.0  # then Docker kills the container
TOKEN = "image-check-0123456789"
PORT = 18998
ADDRESS = f"http://127.0.0.1:{PORT}"


def main() -> int:
    build(IMAGE, "cpu")
    remove(NAME)
    try:
        for check in (description, contents, first_start, health, user, read_only_root, call, clean_stop, early_stop):
            started_at = time.monotonic()
            result = check()
            print(
                f"ok  {check.__name__.replace('_', ' '):<16} {time.monotonic() - started_at:5.1f} s  {result}",
                flush=True,
            )
    finally:
        remove(NAME)
    return 0


def description() -> str:
    """The image's metadata."""
    image = inspect(IMAGE)
    config = image["Config"]
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert list(config["Volumes"]) == ["/data"] and list(config["ExposedPorts"]) == ["8998/tcp"]
    assert image["Healthcheck"]["Test"] == ["CMD", "python3", "/opt/parley/healthcheck.py"]
    return f"{image['Size'] / 1e6:,.0f} MB in {len(image['RootFS']['Layers'])} layers"


def contents() -> str:
    """No compiler, no installer, and no configuration of the machine that built it."""
    tools = "[name for name in ('gcc', 'cc', 'pip', 'pip3', 'curl') if shutil.which(name)]"
    # A file that was mounted during the build leaves an empty one behind.
    left = "os.path.exists('/etc/pip.conf') and os.path.getsize('/etc/pip.conf') > 0"
    assert _once("python3", "-c", f"import os, shutil; print({tools}, {left})") == "[] False"
    return _once("python3", "-m", "server", "--version")


def _once(*command: str) -> str:
    remove(NAME)
    start(IMAGE, NAME, "--entrypoint", command[0], command=command[1:])
    assert podman("wait", NAME) == "0", podman("logs", NAME)
    return podman("logs", NAME)


def first_start() -> str:
    """Started with the defaults, it becomes ready."""
    remove(NAME)
    start(IMAGE, NAME, f"--env=PARLEY_PORT={PORT}", f"--env=PARLEY_TOKEN={TOKEN}", "--memory=2g")
    _until(lambda: _status("/readyz") == 200, START_TIMEOUT_S)
    assert _status("/") == 200
    return next(line for line in podman("logs", NAME).splitlines() if "listening" in line)


def _status(path: str) -> int:
    try:
        with urlopen(ADDRESS + path, timeout=2) as response:
            return response.status
    except OSError:
        return 0


def _until(condition: Callable[[], bool], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, podman("logs", NAME)
        time.sleep(0.1)


def health() -> str:
    """The health check, run as Docker runs it."""
    podman("exec", NAME, "python3", "/opt/parley/healthcheck.py")
    return "healthy"


def user() -> str:
    identity = podman("exec", NAME, "id")
    assert identity.startswith("uid=10001(parley) gid=10001(parley)"), identity
    return identity


def read_only_root() -> str:
    """Only /data and /tmp can be written to."""
    writes = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text('x')"
    for path in ("/opt/parley/x", "/etc/x", "/x"):
        refused = podman("exec", NAME, "python3", "-c", f"try:\n {writes}\nexcept OSError as e: print(e.errno)", path)
        assert refused in ("13", "30"), (path, refused)
    for path in ("/data/x", "/tmp/x"):
        podman("exec", NAME, "python3", "-c", writes, path)
    return "only /data and /tmp can be written to"


def call() -> str:
    """Two callers in real time, from outside the container."""
    command = [sys.executable, "-m", "server", "load", ADDRESS, "-n", "2", "-s", "4", "--token", TOKEN]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return next(line for line in done.stdout.splitlines() if "turnaround" in line)


def clean_stop() -> str:
    """It stops on SIGTERM in time, before it is killed."""
    return _stopped()


def early_stop() -> str:
    """The same while it is still starting."""
    remove(NAME)
    start(IMAGE, NAME, f"--env=PARLEY_PORT={PORT}")
    return _stopped(expected=(0, 143))


def _stopped(expected: tuple[int, ...] = (0,)) -> str:
    podman("stop", f"--time={STOP_TIMEOUT_S:.0f}", NAME)
    status = int(podman("inspect", "--format={{.State.ExitCode}}", NAME))
    assert status in expected, podman("logs", NAME)
    return f"exit status {status}"


if __name__ == "__main__":
    sys.exit(main())
