"""The manifests fit Kubernetes' own schemas, and each other."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

KUBERNETES = Path(__file__).parents[2] / "docker" / "kubernetes"
SINCE = "1.31"  # the oldest release that still gets fixes somewhere


def manifests() -> list[dict[str, Any]]:
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    files = [KUBERNETES / name for name in kustomization["resources"]]
    return [manifest for file in files for manifest in yaml.safe_load_all(file.read_text())]


MANIFESTS = manifests()


def named(kind: str, name: str) -> dict[str, Any]:
    [found] = [m for m in MANIFESTS if m["kind"] == kind and m["metadata"]["name"] == name]
    return found["spec"]


def pods() -> list[dict[str, Any]]:
    of_deployments = [m["spec"]["template"] for m in MANIFESTS if m["kind"] == "Deployment"]
    return of_deployments + [m["spec"]["jobTemplate"]["spec"]["template"] for m in MANIFESTS if m["kind"] == "CronJob"]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda m: f"{m['kind']} {m['metadata']['name']}")
@pytest.mark.parametrize("release", [SINCE, "latest"])
def test_each_fits_its_schema(manifest: dict[str, Any], release: str) -> None:
    version = kubernetes_validate.latest_version() if release == "latest" else release
    kubernetes_validate.validate(manifest, version, strict=True)


def test_all_files_are_listed() -> None:
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    generated = [file for maker in kustomization["configMapGenerator"] for file in maker["files"]]
    generated += [file for maker in kustomization["secretGenerator"] for file in maker["envs"]]
    there = {path.name for path in KUBERNETES.iterdir()} - {"kustomization.yaml"}
    assert there == {*kustomization["resources"], *generated}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl, which renders a kustomization, is not here")
def test_the_kustomization_renders_into_manifests_that_fit_and_find_each_other() -> None:
    done = subprocess.run(["kubectl", "kustomize", KUBERNETES], capture_output=True, text=True, check=True)
    rendered = list(yaml.safe_load_all(done.stdout))
    for manifest in rendered:
        kubernetes_validate.validate(manifest, SINCE, strict=True)
    made = {m["metadata"]["name"] for m in rendered if m["kind"] in ("ConfigMap", "Secret")}
    assert len(made) == 3
    wanted = re.findall(r"(?:secretName|name): (parley-(?:secrets|balancer|scripts)-\w{10})\n", done.stdout)
    assert set(wanted) == made


@pytest.mark.parametrize("pod", pods(), ids=lambda pod: pod["metadata"]["labels"]["app.kubernetes.io/component"])
def test_pods_pass_the_restricted_standard(pod: dict[str, Any]) -> None:
    """What the namespace enforces."""
    spec = pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        closed = container["securityContext"]
        assert not closed["allowPrivilegeEscalation"] and closed["readOnlyRootFilesystem"]
        assert closed["capabilities"] == {"drop": ["ALL"]}
        assert re.fullmatch(r"parley|docker\.io/library/[a-z]+:\d+\.\d+[0-9a-z.-]*", container["image"])


def test_a_pod_waits_for_its_longest_call() -> None:
    spec = named("Deployment", "parley")["template"]["spec"]
    environment = {entry["name"]: entry.get("value") for entry in spec["containers"][0]["env"]}
    drain_s = float(environment["PARLEY_DRAIN_S"])
    assert float(environment["PARLEY_MAX_CALL_S"]) <= drain_s < spec["terminationGracePeriodSeconds"]
    balancer = named("Deployment", "parley-balancer")["template"]["spec"]
    assert balancer["terminationGracePeriodSeconds"] >= spec["terminationGracePeriodSeconds"]


def test_the_balancer_has_a_place_for_every_pod_and_knows_the_service() -> None:
    haproxy = (KUBERNETES / "haproxy.cfg").read_text()
    [places] = re.findall(r"server-template pod 1-(\d+) ", haproxy)
    assert int(places) == named("HorizontalPodAutoscaler", "parley")["maxReplicas"]
    [namespace] = [m["metadata"]["name"] for m in MANIFESTS if m["kind"] == "Namespace"]
    assert haproxy.count(f"parley-servers.{namespace}.svc.cluster.local") == 2
    service = named("Service", "parley-servers")
    assert service["clusterIP"] == "None" and service["publishNotReadyAddresses"]
