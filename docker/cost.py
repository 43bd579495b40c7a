"""What a fleet costs: `python -m docker.cost --callers 10000`, by the planner's roofline and the prices in prices.toml.

The planner's figures are estimates, which it says itself; prices are inputs. The rest is arithmetic.
"""

from __future__ import annotations

import argparse
import math
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from model.checkpoints.moshi_config import duplex_config
from model.config import DuplexConfig
from model.errors import UnfitDevice
from model.hardware.gpus import GPUS
from model.plan import WARNING, make_plan

PRICES = Path(__file__).with_name("prices.toml")
# What a call costs besides GPUs: Opus, its wire and the WebSocket, by direction.
BITS_PER_S = 40_000
CALLS_PER_BALANCER = 5_000  # 25 messages a second each way, of 100 bytes; assumed, a core or two


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of GPU for the whole fleet."""

    gpu: str
    calls_per_gpu: int
    usd_per_hour: float  # of one GPU
    pods: int  # one GPU each
    usd_per_call_hour: float  # of the calls that there are, not of the slots

    @property
    def usd_per_hour_in_all(self) -> float:
        return self.pods * self.usd_per_hour


def rows(prices: dict[str, float], callers: int, fill: float, spare: int, quantization: str) -> list[Row]:
    """A row for each GPU that can hold a call, the cheapest call first.

    `fill` is the share of slots in use that the autoscaler aims at; `spare` pods are for those that load or stop.
    """
    config = duplex_config(None, None)
    found = [row for gpu, usd in prices.items() if (row := _row(gpu, usd, config, callers, fill, spare, quantization))]
    return sorted(found, key=lambda row: row.usd_per_call_hour)


def _row(
    gpu: str, usd_per_hour: float, config: DuplexConfig, callers: int, fill: float, spare: int, quantization: str
) -> Row | None:
    try:
        kv_cache_dtype = "int8" if quantization == "int8" else "auto"
        held = make_plan(GPUS[gpu], config, quantization, kv_cache_dtype).capacity.callers
    except UnfitDevice:
        return None
    if held == 0:
        return None
    pods = math.ceil(callers / (held * fill)) + spare
    return Row(GPUS[gpu].name, held, usd_per_hour, pods, pods * usd_per_hour / callers)


def table(found: Iterable[Row], callers: int) -> str:
    lines = [
        WARNING,
        "",
        "GPU          calls/GPU   $/GPU-hour     pods      $/hour   $/call-hour   ¢/minute",
    ]
    lines += [
        f"{row.gpu:<12} {row.calls_per_gpu:>9} {row.usd_per_hour:>12.2f} {row.pods:>8,} "
        f"{row.usd_per_hour_in_all:>11,.0f} {row.usd_per_call_hour:>13.3f} {row.usd_per_call_hour / 0.6:>10.3f}"
        for row in found
    ]
    gbit_per_s = callers * BITS_PER_S / 1e9
    lines += [
        "",
        f"Beside them: {math.ceil(callers / CALLS_PER_BALANCER) + 1} balancers, {gbit_per_s:.1f} Gbit/s each way, of "
        f"which what leaves is {gbit_per_s / 8 * 3600:,.0f} GB an hour.",
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m docker.cost", description=__doc__)
    parser.add_argument("--callers", type=int, default=10_000, help="calls at once (default 10000)")
    parser.add_argument("--fill", type=float, default=0.67, help="share of slots in use (default 0.67)")
    parser.add_argument("--spare", type=int, default=2, help="pods beyond those, in each fleet (default 2)")
    parser.add_argument(
        "--quantization", choices=["none", "int8"], default="int8", help="of weights, keys and values (default int8)"
    )
    parser.add_argument(
        "--price",
        action="append",
        default=[],
        metavar="GPU=USD",
        help=f"instead of prices.toml's; of {', '.join(GPUS)}",
    )
    args = parser.parse_args()
    prices = {gpu: entry["usd_per_hour"] for gpu, entry in tomllib.loads(PRICES.read_text()).items()}
    try:
        prices |= {gpu: float(usd) for gpu, _, usd in (price.partition("=") for price in args.price)}
    except ValueError:
        parser.error("--price is a GPU and its dollars an hour, as in l4=0.81")
    if unknown := prices.keys() - GPUS.keys():
        parser.error(f"the planner does not know {', '.join(sorted(unknown))}")
    if not all(0 < usd < math.inf for usd in prices.values()):
        parser.error("a price is above 0")
    if not (args.callers > 0 and 0 < args.fill <= 1 and args.spare >= 0):
        parser.error("--callers is above 0, --fill between 0 and 1, --spare 0 or more")
    print(table(rows(prices, args.callers, args.fill, args.spare, args.quantization), args.callers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
