"""Docker's HEALTHCHECK: exit status 0 if this container's server is ready, else 1. Needs only Python."""

from __future__ import annotations

import os
import ssl
import sys
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

TIMEOUT_S = 4.0


def main() -> int:
    port = os.environ.get("PARLEY_PORT", "8998")
    # Docker may be configured with a proxy, and the certificate may be self-signed: neither matters here.
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=ssl._create_unverified_context()))
    for scheme in ("http", "https"):
        try:
            with opener.open(f"{scheme}://127.0.0.1:{port}/readyz", timeout=TIMEOUT_S):
                return 0
        except HTTPError as error:  # the server is not ready, and the body says why
            problem = error.read().decode()
            break
        except OSError as error:
            problem = error
    print(problem)
    return 1


if __name__ == "__main__":
    sys.exit(main())
