"""What the deletion-cost job may do to the cluster if somebody else runs in its place."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import celpy
import pytest
import yaml
from celpy.adapter import json_to_cel

SCALING = Path(__file__).parents[2] / "docker" / "kubernetes" / "scaling.yaml"
MANIFESTS = {manifest["kind"]: manifest for manifest in yaml.safe_load_all(SCALING.read_text())}
POLICY = MANIFESTS["ValidatingAdmissionPolicy"]["spec"]
COST = "controller.kubernetes.io/pod-deletion-cost"
JOB = "system:serviceaccount:parley:parley-deletion-cost"
POD = {
    "metadata": {
        "name": "parley-1",
        "labels": {"app.kubernetes.io/component": "server"},
        "annotations": {"safe-to-evict": "false"},
        "ownerReferences": [{"kind": "ReplicaSet", "name": "parley"}],
    },
    "spec": {"containers": [{"name": "parley", "image": "parley"}]},
}


def holds(expression: str, **variables: Any) -> bool:
    environment = celpy.Environment()
    activation = {name: json_to_cel(value) for name, value in variables.items()}
    return bool(environment.program(environment.compile(expression)).evaluate(activation))


def is_allowed(pod: dict[str, Any], old: dict[str, Any] = POD) -> bool:
    return all(holds(rule["expression"], object=pod, oldObject=old) for rule in POLICY["validations"])


def patched(**metadata: Any) -> dict[str, Any]:
    pod = copy.deepcopy(POD)
    pod["metadata"] |= metadata
    return pod


def with_image(image: str) -> dict[str, Any]:
    pod = copy.deepcopy(POD)
    pod["spec"]["containers"][0]["image"] = image
    return pod


def test_the_job_may_write_a_deletion_cost() -> None:
    cost = patched(annotations={"safe-to-evict": "false", COST: "7"})
    assert is_allowed(cost)
    assert is_allowed(patched(annotations={"safe-to-evict": "false", COST: "8"}), cost)
    bare = {"metadata": {"labels": POD["metadata"]["labels"]}, "spec": {}}
    assert is_allowed({"metadata": bare["metadata"] | {"annotations": {COST: "0"}}, "spec": {}}, bare)


@pytest.mark.parametrize(
    "pod",
    [
        with_image("somebody/else"),
        patched(labels={"app.kubernetes.io/component": "balancer"}),
        patched(labels={}),
        patched(annotations={"safe-to-evict": "true"}),
        patched(annotations={"safe-to-evict": "false", "another": "one"}),
        patched(annotations={COST: "1"}),
        patched(ownerReferences=[]),
        patched(finalizers=["never"]),
    ],
    ids=["image", "label", "no labels", "annotation", "new annotation", "lost annotation", "owner", "finalizer"],
)
def test_the_job_may_change_nothing_else_of_a_server(pod: dict[str, Any]) -> None:
    assert not is_allowed(pod)


@pytest.mark.parametrize("labels", [{"app.kubernetes.io/component": "balancer"}, {}])
def test_the_job_may_not_change_another_pod(labels: dict[str, str]) -> None:
    old = patched(labels=labels)
    pod = copy.deepcopy(old)
    pod["metadata"]["annotations"][COST] = "1"
    assert not is_allowed(pod, old)


def test_the_policy_applies_to_the_job_alone_and_denies() -> None:
    [condition] = POLICY["matchConditions"]
    for user, applies in ((JOB, True), ("system:serviceaccount:kube-system:replicaset-controller", False)):
        request = {"userInfo": {"username": user}, "namespace": "parley"}
        assert holds(condition["expression"], request=request) is applies
    binding = MANIFESTS["ValidatingAdmissionPolicyBinding"]["spec"]
    assert binding == {"policyName": "parley-deletion-cost", "validationActions": ["Deny"]}
    assert POLICY["failurePolicy"] == "Fail"
    assert MANIFESTS["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["serviceAccountName"] in JOB


def test_the_jobs_role_has_the_verbs_that_it_uses() -> None:
    assert MANIFESTS["Role"]["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "patch"]}]
