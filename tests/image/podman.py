"""Building and running images without a daemon or a registry: buildah and podman, in a store of their own.

The base image is made here by debootstrap. What the build of this machine needs besides, as a package index of its
own, comes from IMAGE_BUILD_FLAGS, e.g. "-v /etc/pip.conf:/etc/pip.conf:ro"; TORCH_INDEX, where it is set, is passed on.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WORKSHOP = ROOT / "build" / "image"
BASE = "localhost/parley-base"
_STORE = [f"--root={WORKSHOP}/store", f"--runroot={WORKSHOP}/run", "--storage-driver=overlay"]
_PODMAN = ["podman", *_STORE, "--cgroup-manager=cgroupfs", "--runtime=runc"]
_LIMITS = ["--ulimit=nofile=20000:20000", "--ulimit=nproc=20000:20000"]  # podman asks for more than root may have here


def podman(*command: str, check: bool = True) -> str:
    """What a podman command says."""
    done = subprocess.run([*_PODMAN, *command], stdout=subprocess.PIPE, text=True, check=check)
    return done.stdout.strip()


def build(image: str, variant: str) -> None:
    """Build the repository's Dockerfile upon the local base."""
    if subprocess.run([*_PODMAN, "image", "exists", BASE], check=False).returncode:
        _make_base()
    arguments = {"BASE": BASE, "VARIANT": variant}
    if "TORCH_INDEX" in os.environ:
        arguments["TORCH_INDEX"] = os.environ["TORCH_INDEX"]
    flags = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    flags += shlex.split(os.environ.get("IMAGE_BUILD_FLAGS", ""))
    _buildah("--layers", "--network=host", *flags, f"--tag={image}", str(ROOT))


def _make_base() -> None:
    """Debian with nothing in it, as an image."""
    context = WORKSHOP / "base"
    context.mkdir(parents=True, exist_ok=True)
    tree = WORKSHOP / "debian"
    subprocess.run(["rm", "-rf", tree], check=True)
    subprocess.run(["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", tree], check=True)
    subprocess.run(["tar", "-C", tree, "-cf", context / "debian.tar", "."], check=True)
    subprocess.run(["rm", "-rf", tree], check=True)
    (context / "Dockerfile").write_text('FROM scratch\nADD debian.tar /\nCMD ["/bin/bash"]\n')
    _buildah(f"--tag={BASE}", str(context))
    (context / "debian.tar").unlink()


def _buildah(*flags: str) -> None:
    # Docker's format, since OCI's knows no health check; chroot, since the build may run in a container itself.
    command = ["buildah", *_STORE, "bud", "--isolation=chroot", "--pull=never", "--format=docker", *flags]
    subprocess.run(command, check=True)


def inspect(image: str) -> dict[str, Any]:
    """An image's description."""
    return json.loads(podman("image", "inspect", image))[0]


def start(image: str, name: str, *flags: str, command: tuple[str, ...] = ()) -> None:
    """Run a container as an operator who trusts nothing: no capability, nothing to write to but /tmp and /data."""
    closed = ["--cap-drop=all", "--security-opt=no-new-privileges", "--read-only", "--read-only-tmpfs=false"]
    here = ["--pull=never", "--network=host", "--no-healthcheck", "--tmpfs=/tmp", *_LIMITS]
    podman("run", "--detach", f"--name={name}", *closed, *here, *flags, image, *command)


def remove(name: str) -> None:
    podman("rm", "--force", "--ignore", "--volumes", "--time=0", name, check=False)
