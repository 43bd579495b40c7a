"""Every image that is pulled is pinned by digest, or listed as not yet pinned."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from docker import lock_images

HAPROXY, CADDY = "docker.io/library/haproxy:3.2.1-alpine", "docker.io/library/caddy:2.1.1"
OLD, NEW = "sha256:" + 64 * "0", "sha256:" + 64 * "1"


def test_every_image_has_a_digest_or_is_listed_as_not_yet_pinned() -> None:
    listed = [line for line in lock_images.LEFT.read_text().splitlines() if not line.startswith("#")]
    images = lock_images.read(lock_images.files())
    assert [name for name, digest in sorted(images.items()) if not digest] == listed
    assert all(re.search(r":v?\d+\.\d+\.\d+", image) for image in images)


def test_no_image_is_overlooked() -> None:
    """What YAML calls an image is one that we build, or one that the script finds."""
    found = lock_images.read(lock_images.files())
    for path in lock_images.files():
        for image in images_in(list(yaml.safe_load_all(path.read_text()))):
            name = image.partition("@")[0]
            assert name in found or name in ("parley", "parley:cuda"), f"{path.name}: {image}"


def images_in(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["image"]] if isinstance(node.get("image"), str) else []
        return own + [image for child in node.values() for image in images_in(child)]
    return [image for child in node for image in images_in(child)] if isinstance(node, list) else []


def test_the_base_of_our_own_image_has_a_digest() -> None:
    dockerfile = (lock_images.DOCKER.parent / "Dockerfile").read_text()
    assert re.search(r"^ARG BASE=\S+@sha256:[0-9a-f]{64}$", dockerfile, re.MULTILINE)


@pytest.mark.parametrize(
    ("known", "pinned"),
    [({HAPROXY: NEW}, f"{HAPROXY}@{NEW}"), ({}, f"{HAPROXY}@{OLD}")],
    ids=["a new digest", "a registry that does not answer"],
)
def test_digests_are_written_where_they_are_known(tmp_path: Path, known: dict[str, str], pinned: str) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(f"a: {{image: parley:cuda}}\nb:\n  image: {HAPROXY}@{OLD}\nc:\n  image: {CADDY}  # why\n")
    assert lock_images.pin([file], known.get) == [CADDY]
    assert file.read_text() == f"a: {{image: parley:cuda}}\nb:\n  image: {pinned}\nc:\n  image: {CADDY}  # why\n"


def test_only_a_digest_is_taken_from_a_tools_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for tool, answer in (("docker", "no digest"), ("skopeo", NEW)):
        (tmp_path / tool).write_text(f"#!/bin/sh\necho {answer}\n")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert lock_images.digest_of(HAPROXY, ["docker"]) is None
    assert lock_images.digest_of(HAPROXY, ["docker", "skopeo"]) == NEW
