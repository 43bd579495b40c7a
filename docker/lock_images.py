"""Pin by digest the images that are pulled: `make lock-images` asks their registries, with Docker's buildx or skopeo.

It writes `name:tag@sha256:…` into Compose's and Kubernetes' files. An image whose digest it could not learn stays as it
is, and is listed in docker/images-without-digest.txt, so that nobody takes it for pinned.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

DOCKER = Path(__file__).parent
LEFT = DOCKER / "images-without-digest.txt"
IMAGE = re.compile(
    r"(?<=image: )(?P<name>[a-z0-9.-]+\.[a-z]+/[a-z0-9./_-]+:[\w.-]+)(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HEAD = (
    "# Images that are pinned by version only. `make lock-images` asks registries for digests, and writes this list.\n"
)
_TIMEOUT_S = 60.0
_INSPECT = {
    "docker": ("buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}"),
    "skopeo": ("inspect", "--no-tags", "--format", "{{.Digest}}"),
}

Digests = dict[str, str | None]  # of each image; None: not pinned


def main() -> int:
    """0 if every image is pinned."""
    tools = [tool for tool in _INSPECT if shutil.which(tool)]
    if not tools:
        print("Neither docker nor skopeo is installed; one of them has to ask the registries.", file=sys.stderr)
        return 2
    left = pin(files(), lambda image: digest_of(image, tools))
    LEFT.write_text(_HEAD + "".join(image + "\n" for image in left))
    for image in left:
        print(f"{image}: no digest", file=sys.stderr)
    return 1 if left else 0


def files() -> list[Path]:
    """The files that name images to pull."""
    return [DOCKER / "compose.yaml", *sorted((DOCKER / "kubernetes").glob("*.yaml"))]


def read(paths: list[Path]) -> Digests:
    """Every image that `paths` name, with its digest."""
    return {found["name"]: found["digest"] for path in paths for found in IMAGE.finditer(path.read_text())}


def pin(paths: list[Path], ask: Callable[[str], str | None]) -> list[str]:
    """Write the digests that `ask` knows into `paths`; those that it does not stay. Returns the images without one."""
    digests = {image: ask(image) or digest for image, digest in read(paths).items()}

    def pinned(found: re.Match[str]) -> str:
        digest = digests[found["name"]]
        return f"{found['name']}@{digest}" if digest else found["name"]

    for path in paths:
        path.write_text(IMAGE.sub(pinned, path.read_text()))
    return sorted(image for image, digest in digests.items() if not digest)


def digest_of(image: str, tools: list[str]) -> str | None:
    """The digest of all of an image's platforms, from its registry."""
    for tool in tools:
        name = image if tool == "docker" else f"docker://{image}"
        try:
            done = subprocess.run(
                [tool, *_INSPECT[tool], name], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0 and _DIGEST.fullmatch(digest := done.stdout.strip()):
            return digest
    return None


if __name__ == "__main__":
    sys.exit(main())
