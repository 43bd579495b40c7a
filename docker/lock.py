"""Pin what the image and `make run` install: `make lock` writes docker/requirements/*.txt from pyproject.toml, with uv.

Two files, one for each layer of the image: torch with CUDA, which is gigabytes and seldom changes, and the rest. Each
requirement has its version and its hashes, for every system and every Python that the project supports. Versions that
still fit stay as they are; `make lock ARGS=--upgrade` takes the newest.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / "docker" / "requirements"
PYTHON = "3.11"  # the oldest that the project supports, and Debian's, in the image
_OF_TORCH = re.compile(r"(torch|triton|cuda-[a-z]+|nvidia-[a-z0-9-]+)==")
_HEAD = "# Made by `make lock` from pyproject.toml; do not edit.\n"


def main() -> int:
    options = ["--universal", "--python-version", PYTHON, "--generate-hashes", "--no-header", "--no-annotate"]
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "all.txt"
        output.write_text("".join(file.read_text() for file in sorted(REQUIREMENTS.glob("*.txt"))))  # what uv prefers
        command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", *options, "--output-file", str(output)]
        subprocess.run([*command, *sys.argv[1:], "pyproject.toml"], cwd=ROOT, check=True)
        locked = output.read_text()
    requirements = re.split(r"\n(?=[a-z])", locked.strip())  # each is followed by lines with its hashes
    of_torch = [_OF_TORCH.match(requirement) is not None for requirement in requirements]
    for name, wanted in (("torch-cuda", True), ("python", False)):
        lines = [text + "\n" for text, is_torch in zip(requirements, of_torch, strict=True) if is_torch is wanted]
        (REQUIREMENTS / f"{name}.txt").write_text(_HEAD + "".join(lines))
        print(f"{name}.txt: {len(lines)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
