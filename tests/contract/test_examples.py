"""Every example file, tried on a real API server."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from contract.examples import (
    GOLDEN,
    SAMPLES,
    TUTORIAL,
    Document,
    Invalid,
    documents,
    invalid,
    stem,
    valid,
)
from contract.server import Rejected, Server


@pytest.mark.parametrize("path", valid(), ids=stem)
def test_a_valid_example_is_accepted_with_its_defaults(server: Server, path: Path) -> None:
    (document,) = documents(path)
    stored = {"spec": server.apply(document, dry_run=True)["spec"]}
    golden = GOLDEN / path.name
    if os.environ.get("GOLDEN") == "rewrite":
        golden.write_text(yaml.safe_dump(stored, allow_unicode=True), encoding="utf-8")
    assert yaml.safe_load(golden.read_text(encoding="utf-8")) == stored


@pytest.mark.parametrize("example", invalid(), ids=lambda example: example.path.stem)
def test_an_invalid_example_is_refused_with_the_expected_message(
    server: Server, existing: list[Document], example: Invalid
) -> None:
    *before, refused = example.documents
    existing.extend(server.apply(document) for document in before)
    with pytest.raises(Rejected) as caught:
        # Server-side apply finds what breaks the shape of a list before validation does, and says
        # so in words of its own; an example states those of create and update.
        server.update(refused) if before else server.create(refused)
    message, rest = str(caught.value), str(caught.value)
    for part in example.parts:
        assert part in rest, f"{part!r} is not said, or too early, in: {message}"
        rest = rest.partition(part)[2]


@pytest.mark.parametrize("example", invalid(), ids=lambda example: example.path.stem)
def test_an_invalid_example_is_refused_by_server_side_apply_too(
    server: Server, existing: list[Document], example: Invalid
) -> None:
    *before, refused = example.documents
    existing.extend(server.apply(document) for document in before)
    with pytest.raises(Rejected):
        server.apply(refused, dry_run=True)


@pytest.mark.parametrize("path", SAMPLES, ids=stem)
def test_a_sample_is_accepted(server: Server, path: Path) -> None:
    for document in documents(path):
        # The team's namespace is no part of the sample.
        if "namespace" in document["metadata"]:
            document["metadata"]["namespace"] = "default"
        server.apply(document, dry_run=True)


def test_the_tutorials_manifests_are_accepted_in_their_order(
    server: Server, existing: list[Document]
) -> None:
    (account,) = documents(TUTORIAL / "object-storage-sa.yaml")
    existing.append(server.apply(account))
    for name in ("object-storage-pod.yaml", "test-webhook-pod.yaml"):
        (pod,) = documents(TUTORIAL / name)
        applied = server.apply(pod, dry_run=True)
        assert applied["spec"]["serviceAccountName"] == account["metadata"]["name"]


@pytest.fixture
def existing(server: Server) -> Iterator[list[Document]]:
    """Objects that a test has created; they are deleted after it."""
    created: list[Document] = []
    yield created
    for document in created:
        server.delete(document)
