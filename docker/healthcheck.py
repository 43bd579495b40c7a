"""Docker's HEALTHCHECK: 0 when this container's server takes calls, else 1. Needs nothing but Python."""

from __future__ import annotations

import os
import ssl
import sys
from urllib.request import urlopen

TIMEOUT_S = 4.0


def main() -> int:
    port = os.environ.get("PARLEY_PORT", "8998")
    for scheme in ("http", "https"):  # the server may do TLS itself, with a certificate that nobody signed
        try:
            with urlopen(
                f"{scheme}://127.0.0.1:{port}/readyz", timeout=TIMEOUT_S, context=ssl._create_unverified_context()
            ):
                return 0
        except OSError as error:
            problem = error
    print(problem)
    return 1


if __name__ == "__main__":
    sys.exit(main())
