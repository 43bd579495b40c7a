"""Three pods behind HAProxy with docker/kubernetes/haproxy.cfg: each is an address of this machine, known to a DNS."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import cast

from tests.fleet.fleet import ROOT, Fleet, FleetServer, eventually, free_port, replaced, running

SERVICE = "parley-servers.parley.svc.cluster.local"
_A, _IN = 1, 1
_NO_SUCH_NAME = 3


class ClusterDns(asyncio.DatagramProtocol):
    """A cluster's DNS for a headless service: all pods by its name, and each pod by its address with dashes."""

    def __init__(self, pods: list[str]) -> None:
        self.pods = pods
        self.asked: set[str] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        labels, at = [], 12
        while length := data[at]:
            labels.append(data[at + 1 : at + 1 + length].decode())
            at += 1 + length
        question = data[12 : at + 5]
        name = ".".join(labels).lower()
        self.asked.add(name)
        found = self._find(name)
        wanted = found if struct.unpack("!H", question[-4:-2]) == (_A,) else []
        flags = 0x8180 | (0 if found else _NO_SUCH_NAME)
        answer = data[:2] + struct.pack("!5H", flags, 1, len(wanted), 0, 0) + question
        for pod in wanted:
            answer += struct.pack("!3HIH", 0xC00C, _A, _IN, 5, 4) + IPv4Address(pod).packed
        self._transport.sendto(answer, addr)

    def _find(self, name: str) -> list[str]:
        if name == SERVICE:
            return self.pods
        return [pod for pod in self.pods if name == f"{pod.replace('.', '-')}.{SERVICE}"]


@asynccontextmanager
async def running_cluster(directory: Path, *flags: str) -> AsyncIterator[tuple[Fleet, ClusterDns]]:
    """Three ready pods that HAProxy found by DNS."""
    port, dns_port = free_port(), free_port()
    addresses = [f"127.0.0.{k}" for k in (2, 3, 4)]
    servers = [FleetServer(address.replace(".", "-"), flags, port, address) for address in addresses]
    fleet = Fleet(servers, free_port(), free_port())
    replacements = {
        "bind :8998": f"bind 127.0.0.1:{fleet.port}",
        "bind :8404": f"bind 127.0.0.1:{fleet.metrics_port}",
        "    parse-resolv-conf\n": f"    nameserver cluster 127.0.0.1:{dns_port}\n",
        "set-dst-port int(8998)": f"set-dst-port int({port})",
        f"{SERVICE}:8998": f"{SERVICE}:{port}",
    }
    haproxy_cfg = replaced(ROOT / "docker" / "kubernetes" / "haproxy.cfg", replacements)
    loop = asyncio.get_running_loop()
    transport, dns = await loop.create_datagram_endpoint(lambda: ClusterDns(addresses), ("127.0.0.1", dns_port))
    try:
        async with running(fleet, directory, haproxy_cfg):

            async def found() -> bool:
                return len(await fleet.seen_ready()) == len(servers)

            await eventually(found)
            yield fleet, dns
    finally:
        transport.close()
