"""The address to open, as people are told it."""

from __future__ import annotations

import socket

from server.addresses import is_local

_EVERY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # where every address is listened on, and one that leads there


def startup_banner(host: str, port: int, scheme: str, token: str | None) -> str:
    """What to print once the server listens on `host`; an address to open is each line's last word.

    `token`: one that was made here; one that the operator gave is not repeated.
    """
    fragment = f"/#token={token}" if token else ""

    def url(name: str) -> str:
        return f"{scheme}://[{name}]:{port}{fragment}" if ":" in name else f"{scheme}://{name}:{port}{fragment}"

    if host not in _EVERY:
        lines = [f"Parley is listening on {url(host)}"]
    else:
        lines = [f"Parley is listening on all addresses of this machine, here {url(_EVERY[host])}"]
        if outward := outbound_address():
            lines.append(f"From other machines: {url(outward)}")
    if scheme == "http" and not is_local(host):
        lines.append("Browsers give a page of another machine the microphone only over https: --tls self, or a proxy.")
    return "\n".join(lines)


def outbound_address() -> str | None:
    """This machine's address as its network knows it. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # RFC 5737: an address of nobody
        except OSError:
            return None
        return probe.getsockname()[0]
