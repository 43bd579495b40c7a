"""The startup banner: which URLs to open."""

from __future__ import annotations

import socket

from server.addresses import is_local

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # each with an address that reaches it from this machine


def startup_banner(host: str, port: int, scheme: str, token: str | None) -> str:
    """The lines to print once the server listens on `host`. A URL to open is the last word of its line.

    `token`: the generated token, which becomes part of the URLs; None if the operator chose one.
    """
    fragment = f"/#token={token}" if token else ""

    def url(name: str) -> str:
        return f"{scheme}://[{name}]:{port}{fragment}" if ":" in name else f"{scheme}://{name}:{port}{fragment}"

    if host not in _WILDCARDS:
        lines = [f"Parley is listening on {url(host)}"]
    else:
        lines = [f"Parley is listening on all addresses; from this machine: {url(_WILDCARDS[host])}"]
        if outbound := outbound_address():
            lines.append(f"From other machines: {url(outbound)}")
    if scheme == "http" and not is_local(host):
        lines.append("Browsers on other machines allow the microphone only over https: use --tls self or a proxy.")
    return "\n".join(lines)


def outbound_address() -> str | None:
    """The IPv4 address from which this machine reaches others; None without a network. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation, RFC 5737
        except OSError:
            return None
        return probe.getsockname()[0]
