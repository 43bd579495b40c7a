"""Build and run images without a daemon or a registry: buildah and podman, with their own storage.

debootstrap makes the base image. IMAGE_BUILD_FLAGS holds what the build needs on this machine, for example a package
index: "-v /etc/pip.conf:/etc/pip.conf:ro". TORCH_INDEX is passed on if it is set.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "image"
BASE = "localhost/parley-base"
_STORE = [f"--root={BUILD}/store", f"--runroot={BUILD}/run", "--storage-driver=overlay"]
_PODMAN = ["podman", *_STORE, "--cgroup-manager=cgroupfs", "--runtime=runc"]
_LIMITS = ["--ulimit=nofile=20000:20000", "--ulimit=nproc=20000:20000"]  # podman's defaults may exceed root's limits


def podman(*command: str, check: bool = True) -> str:
    """Run a podman command. Returns its output."""
    done = subprocess.run([*_PODMAN, *command], stdout=subprocess.PIPE, text=True, check=check)
    return done.stdout.strip()


def build(image: str, variant: str) -> None:
    """Build the repository's Dockerfile on the local base image."""
    if subprocess.run([*_PODMAN, "image", "exists", BASE], check=False).returncode:
        _make_base()
    arguments = {"BASE": BASE, "VARIANT": variant}
    if "TORCH_INDEX" in os.environ:
        arguments["TORCH_INDEX"] = os.environ["TORCH_INDEX"]
    flags = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    flags += shlex.split(os.environ.get("IMAGE_BUILD_FLAGS", ""))
    _buildah("--layers", "--network=host", *flags, f"--tag={image}", str(ROOT))


def _make_base() -> None:
    """Make a minimal Debian image."""
    context = BUILD / "base"
    context.mkdir(parents=True, exist_ok=True)
    tree = BUILD / "debian"
    subprocess.run(["rm", "-rf", tree], check=True)
    subprocess.run(["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", tree], check=True)
    subprocess.run(["tar", "-C", tree, "-cf", context / "debian.tar", "."], check=True)
    subprocess.run(["rm", "-rf", tree], check=True)
    (context / "Dockerfile").write_text('FROM scratch\nADD debian.tar /\nCMD ["/bin/bash"]\n')
    _buildah(f"--tag={BASE}", str(context))
    (context / "debian.tar").unlink()


def _buildah(*flags: str) -> None:
    # Docker's format, because OCI's has no health check; chroot, because the build may itself run in a container.
    command = ["buildah", *_STORE, "bud", "--isolation=chroot", "--pull=never", "--format=docker", *flags]
    subprocess.run(command, check=True)


def inspect(image: str) -> dict[str, Any]:
    """An image's metadata."""
    return json.loads(podman("image", "inspect", image))[0]


def start(image: str, name: str, *flags: str, command: tuple[str, ...] = ()) -> None:
    """Run a locked-down container: without capabilities, with only /tmp and /data writable."""
    locked_down = ["--cap-drop=all", "--security-opt=no-new-privileges", "--read-only", "--read-only-tmpfs=false"]
    local = ["--pull=never", "--network=host", "--no-healthcheck", "--tmpfs=/tmp", *_LIMITS]
    podman("run", "--detach", f"--name={name}", *locked_down, *local, *flags, image, *command)


def remove(name: str) -> None:
    podman("rm", "--force", "--ignore", "--volumes", "--time=0", name, check=False)
