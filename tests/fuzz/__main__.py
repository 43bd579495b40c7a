"""`make fuzz`: coverage-guided fuzzing with atheris. `python -m tests.fuzz TARGET FILE` runs a failing input again.

Each target runs in its own process, which libFuzzer ends after a number of inputs, or at the first input that fails,
takes a minute or makes the process larger than 2 GB.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

# Inputs of a full run: 10 million, most of them for the fast targets.
RUNS = {
    **dict.fromkeys(("ogg", "opus", "protocol", "query"), 1_750_000),
    **dict.fromkeys(("token", "access"), 1_250_000),
    **dict.fromkeys(("sequence", "path", "call"), 200_000),
}
CORPUS = Path("build/fuzz")
_LIMITS = [
    "-timeout=60",  # seconds of real time, and the machine may be busy
    "-rss_limit_mb=2048",
    "-max_len=4096",
    "-print_final_stats=1",
    "-keep_seed=1",  # without coverage, the seeds would be dropped
]


def target(name: str) -> Callable[[bytes], None]:
    """The target function called `name`."""
    from tests.fuzz import access, calls, parsers, sequences

    return next(found for module in (parsers, access, sequences, calls) if (found := getattr(module, name, None)))


def fuzz(name: str, is_blind: bool, libfuzzer: list[str]) -> None:
    """Fuzz one target in this process. Does not return."""
    import atheris  # pyright: ignore[reportMissingImports], an optional extra, without declared exports
    from atheris import instrument_imports  # pyright: ignore

    with nullcontext() if is_blind else instrument_imports(include=["server", "tests.fuzz"]):
        function = target(name)
    atheris.Setup([sys.argv[0], *libfuzzer], function)
    atheris.Fuzz()


def run(name: str, share: float, seed_number: int, is_blind: bool) -> bool:
    """Fuzz one target in a new process and print its line. False if an input failed."""
    from tests.fuzz.seeds import seeds  # not above: modules imported before atheris have no coverage

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
        print(f"{name:8} FAILED; the input is in {CORPUS}/{name}-*, the log in {CORPUS}/{name}.log")
        return False
    features = (re.findall(r"ft: (\d+)", log) or ["no"])[-1]
    inputs, seconds = int(done[1]), max(1, int(done[2]))
    print(
        f"{name:8} {inputs:>10,} inputs in {seconds:>5} s, {inputs // seconds:>6,} a second, {features:>5} features, "
        f"memory {rss[0]} → {rss[-1]} MB",
        flush=True,
    )
    return True


def main() -> int:
    """Return the exit status: 1 if an input failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", nargs="?", choices=[*RUNS], help="the target to fuzz (default: all)")
    parser.add_argument("files", nargs="*", type=Path, help="run only these inputs")
    parser.add_argument(
        "--share", type=float, default=1.0, help="share of the inputs of a full run (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the mutations (default %(default)s)")
    parser.add_argument("--blind", action="store_true", help="fuzz without coverage, which is much faster")
    args = parser.parse_args()
    if args.files:
        for file in args.files:
            target(args.target)(file.read_bytes())
        return 0
    failed = [
        name for name in ([args.target] if args.target else RUNS) if not run(name, args.share, args.seed, args.blind)
    ]
    return 1 if failed else 0


if __name__ == "__main__":
    if "--" in sys.argv:
        at = sys.argv.index("--")
        fuzz(sys.argv[at - 1], sys.argv[at - 2] == "blind", sys.argv[at + 1 :])
    sys.exit(main())
