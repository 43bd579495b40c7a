"""`make fuzz`: coverage-guided, by atheris. `python -m tests.fuzz TARGET FILE` tries again what it found.

Each target runs in a process of its own, which libFuzzer ends: after so many inputs, at the first one that breaks a
promise, that takes a minute, or once the process holds 2 GB.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

# Inputs at full: 10 million in all, most of them where they are cheap.
RUNS = {
    **dict.fromkeys(("ogg", "opus", "wire", "query"), 1_750_000),
    **dict.fromkeys(("token", "door"), 1_250_000),
    **dict.fromkeys(("lives", "path", "call"), 200_000),
}
CORPUS = Path("build/fuzz")
_LIMITS = [
    "-timeout=60",  # by the wall's clock, and the machine may be busy
    "-rss_limit_mb=2048",
    "-max_len=4096",
    "-print_final_stats=1",
    "-keep_seed=1",  # blind, it would throw the seeds away
]


def target(name: str) -> Callable[[bytes], None]:
    """The function under test."""
    from tests.fuzz import calls, gates, lives, parsers

    return next(found for module in (parsers, gates, lives, calls) if (found := getattr(module, name, None)))


def fuzz(name: str, is_blind: bool, libfuzzer: list[str]) -> None:
    """Be the process of one target. Does not return."""
    import atheris  # pyright: ignore[reportMissingImports], an extra; nor does it say what it exports
    from atheris import instrument_imports  # pyright: ignore

    with nullcontext() if is_blind else instrument_imports(include=["server", "tests.fuzz"]):
        tried = target(name)
    atheris.Setup([sys.argv[0], *libfuzzer], tried)
    atheris.Fuzz()


def run(name: str, share: float, seed_number: int, is_blind: bool) -> bool:
    """Fuzz one target and print its line. False: something was found."""
    from tests.fuzz.seeds import seeds  # not above: what is imported before atheris is not guided by

    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
    limits = [*_LIMITS, f"-runs={max(1, round(RUNS[name] * share))}", f"-seed={seed_number}"]
    flags = [*limits, f"-artifact_prefix={CORPUS}/{name}-", str(corpus)]
    command = [sys.executable, "-m", "tests.fuzz", "blind" if is_blind else "guided", name, "--", *flags]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    log = ran.stderr
    (CORPUS / f"{name}.log").write_text(log)
    done, rss = re.search(r"Done (\d+) runs in (\d+)", log), re.findall(r"rss: (\d+)Mb", log)
    if ran.returncode or not done:
        print(f"{name:6} FAILED; what it found lies in {CORPUS}/{name}-*, its log in {CORPUS}/{name}.log")
        return False
    covered = (re.findall(r"ft: (\d+)", log) or ["no"])[-1]
    inputs, seconds = int(done[1]), max(1, int(done[2]))
    print(
        f"{name:6} {inputs:>10,} inputs in {seconds:>5} s, {inputs // seconds:>6,} a second, {covered:>5} features, "
        f"memory {rss[0]} → {rss[-1]} MB",
        flush=True,
    )
    return True


def main() -> int:
    """The exit status: 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", nargs="?", choices=[*RUNS], help="one of them; all by default")
    parser.add_argument("files", nargs="*", type=Path, help="try these inputs, and no others")
    parser.add_argument("--share", type=float, default=1.0, help="of the inputs at full (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="another seed takes other ways (default %(default)s)")
    parser.add_argument("--blind", action="store_true", help="do not watch coverage, which takes most of the time")
    args = parser.parse_args()
    if args.files:
        for file in args.files:
            target(args.target)(file.read_bytes())
        return 0
    found = [
        name for name in ([args.target] if args.target else RUNS) if not run(name, args.share, args.seed, args.blind)
    ]
    return 1 if found else 0


if __name__ == "__main__":
    if "--" in sys.argv:
        at = sys.argv.index("--")
        fuzz(sys.argv[at - 1], sys.argv[at - 2] == "blind", sys.argv[at + 1 :])
    sys.exit(main())
