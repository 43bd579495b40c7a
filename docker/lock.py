"""Pin what the image installs: `make lock` writes docker/requirements/*.txt from pyproject.toml, with uv.

Two files, one for each layer of the image: torch with CUDA, which is gigabytes and seldom changes, and the rest. Each
requirement has its version and its hashes, for x86-64 and ARM.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / "docker" / "requirements"
PYTHON = "3.11"  # Debian's, in the image
_OF_TORCH = re.compile(r"(torch|triton|cuda-[a-z]+|nvidia-[a-z0-9-]+)==")
_HEAD = "# Made by `make lock` from pyproject.toml; do not edit.\n"


def main() -> int:
    options = [
        "--python-platform",
        "linux",
        "--python-version",
        PYTHON,
        "--generate-hashes",
        "--no-header",
        "--no-annotate",
    ]
    locked = subprocess.run(
        [sys.executable, "-m", "uv", "pip", "compile", "--quiet", *options, *sys.argv[1:], "pyproject.toml"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    requirements = re.split(r"\n(?=[a-z])", locked.stdout.strip())  # each is followed by lines with its hashes
    of_torch = [_OF_TORCH.match(requirement) is not None for requirement in requirements]
    for name, wanted in (("torch-cuda", True), ("python", False)):
        lines = [text + "\n" for text, is_torch in zip(requirements, of_torch, strict=True) if is_torch is wanted]
        (REQUIREMENTS / f"{name}.txt").write_text(_HEAD + "".join(lines))
        print(f"{name}.txt: {len(lines)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
