"""Write each server pod's number of calls into its deletion cost, so that scaling down removes the least used pods.

Runs in the cluster once a minute (scaling.yaml). Needs only Python.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SELECTOR = "app.kubernetes.io/component%3Dserver"
COST = "controller.kubernetes.io/pod-deletion-cost"
TIMEOUT_S = 3.0


def main() -> int:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    namespace = (ACCOUNT / "namespace").read_text()
    pods = f"https://{f'[{host}]' if ':' in host else host}:{port}/api/v1/namespaces/{namespace}/pods"
    for pod in _request(f"{pods}?labelSelector={SELECTOR}")["items"]:
        name, ip = pod["metadata"]["name"], pod["status"].get("podIP")
        cost = str(_running(ip)) if ip else "0"
        if cost != pod["metadata"].get("annotations", {}).get(COST):
            _request(f"{pods}/{name}", {"metadata": {"annotations": {COST: cost}}})
            print(f"{name}: {cost}")
    return 0


def _request(url: str, patch: dict[str, Any] | None = None) -> dict[str, Any]:
    """The API's answer. Raises OSError."""
    headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"}
    body, method = None, "GET"
    if patch is not None:
        headers["Content-Type"] = "application/merge-patch+json"
        body, method = json.dumps(patch).encode(), "PATCH"
    trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urlopen(Request(url, body, headers, method=method), timeout=TIMEOUT_S, context=trust) as response:
        return json.load(response)


def _running(ip: str) -> int:
    """The number of a server's calls; 0 if it does not answer, because then it has none to lose."""
    address = f"http://{f'[{ip}]' if ':' in ip else ip}:8998/api/info"
    try:
        token = {"Authorization": f"Bearer {os.environ['PARLEY_TOKEN']}"}
        with urlopen(Request(address, headers=token), timeout=TIMEOUT_S) as response:
            return int(json.load(response)["running"])
    except OSError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
