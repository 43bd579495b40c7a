"""The cost of a fleet: `python -m docker.cost --callers 10000`, by the planner and the prices in prices.toml.

The planner's figures are estimates, and the prices are inputs.
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
BITS_PER_S = 40_000  # of a call in each direction: Opus, Ogg and the WebSocket
CALLS_PER_BALANCER = 5_000  # an assumption: 25 messages of 100 bytes a second in each direction, on a core or two


@dataclass(frozen=True, slots=True)
class FleetCost:
    """A fleet with one kind of GPU."""

    gpu: str
    calls_per_gpu: int
    usd_per_hour: float  # of one GPU
    pods: int  # with one GPU each
    usd_per_call_hour: float  # per call, not per slot

    @property
    def total_usd_per_hour(self) -> float:
        return self.pods * self.usd_per_hour


def rows(prices: dict[str, float], callers: int, fill: float, spare: int, quantization: str) -> list[FleetCost]:
    """A row for each GPU that can serve a call, the cheapest call first.

    `fill` is the share of slots in use that the autoscaler aims at; `spare` pods replace those that load or stop.
    """
    config = duplex_config(None, None)
    found = [row for gpu, usd in prices.items() if (row := _row(gpu, usd, config, callers, fill, spare, quantization))]
    return sorted(found, key=lambda row: row.usd_per_call_hour)


def _row(
    gpu: str, usd_per_hour: float, config: DuplexConfig, callers: int, fill: float, spare: int, quantization: str
) -> FleetCost | None:
    try:
        kv_cache_dtype = "int8" if quantization == "int8" else "auto"
        calls = make_plan(GPUS[gpu], config, quantization, kv_cache_dtype).capacity.callers
    except UnfitDevice:
        return None
    if calls == 0:
        return None
    pods = math.ceil(callers / (calls * fill)) + spare
    return FleetCost(GPUS[gpu].name, calls, usd_per_hour, pods, pods * usd_per_hour / callers)


def table(found: Iterable[FleetCost], callers: int) -> str:
    lines = [
        WARNING,
        "",
        "GPU          calls/GPU   $/GPU-hour     pods      $/hour   $/call-hour   ¢/minute",
    ]
    lines += [
        f"{row.gpu:<12} {row.calls_per_gpu:>9} {row.usd_per_hour:>12.2f} {row.pods:>8,} "
        f"{row.total_usd_per_hour:>11,.0f} {row.usd_per_call_hour:>13.3f} {row.usd_per_call_hour / 0.6:>10.3f}"
        for row in found
    ]
    gbit_per_s = callers * BITS_PER_S / 1e9
    balancers = math.ceil(callers / CALLS_PER_BALANCER) + 1
    lines += [
        "",
        f"In addition: {balancers} balancers with {gbit_per_s:.1f} Gbit/s in each direction, of which "
        f"{gbit_per_s / 8 * 3600:,.0f} GB an hour is outgoing traffic.",
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m docker.cost", description=__doc__)
    parser.add_argument(
        "--callers", type=int, default=10_000, metavar="N", help="calls at the same time (default: 10000)"
    )
    parser.add_argument(
        "--fill", type=float, default=0.67, metavar="SHARE", help="share of slots in use (default: 0.67)"
    )
    parser.add_argument("--spare", type=int, default=2, metavar="N", help="additional pods in each fleet (default: 2)")
    parser.add_argument(
        "--quantization",
        choices=["none", "int8"],
        default="int8",
        help="of weights, keys and values (default: int8)",
    )
    parser.add_argument(
        "--price",
        action="append",
        default=[],
        metavar="GPU=USD",
        help=f"price of a GPU in US dollars an hour, instead of that in prices.toml; GPUs: {', '.join(GPUS)}",
    )
    args = parser.parse_args()
    prices = {gpu: entry["usd_per_hour"] for gpu, entry in tomllib.loads(PRICES.read_text()).items()}
    try:
        prices |= {gpu: float(usd) for gpu, _, usd in (price.partition("=") for price in args.price)}
    except ValueError:
        parser.error("--price needs a GPU and its price in US dollars an hour, such as l4=0.81")
    if unknown := prices.keys() - GPUS.keys():
        parser.error(f"unknown GPU: {', '.join(sorted(unknown))}")
    if not all(0 < usd < math.inf for usd in prices.values()):
        parser.error("prices must be greater than 0")
    if not (args.callers > 0 and 0 < args.fill <= 1 and args.spare >= 0):
        parser.error("--callers must be greater than 0, --fill between 0 and 1, and --spare 0 or more")
    print(table(rows(prices, args.callers, args.fill, args.spare, args.quantization), args.callers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
