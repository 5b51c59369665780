"""A CRD of the cluster that is newer than ours."""

from typing import Any

import pytest

from caios_federation.core.definitions import (
    is_established,
    naming_problem,
    refuse_loss,
    versions_lost,
)


def definition(*versions: str, stored: tuple[str, ...] = (), idle: str = "") -> dict[str, Any]:
    served: list[dict[str, Any]] = [
        {"name": name, "served": True, "storage": name == versions[-1]} for name in versions
    ]
    served += [{"name": idle, "served": False, "storage": False}] if idle else []
    return {"spec": {"versions": served}, "status": {"storedVersions": list(stored)}}


OURS = definition("v1alpha1")


@pytest.mark.parametrize(
    ("current", "lost"),
    [
        ({}, ()),
        (definition("v1alpha1", stored=("v1alpha1",)), ()),
        (definition("v1alpha1", "v1"), ("v1",)),
        (definition("v1"), ("v1",)),
        (definition("v1alpha1", stored=("v1alpha1", "v1")), ("v1",)),
        (definition("v1alpha1", idle="v1"), ()),
        (definition("v1", "v2", stored=("v1beta1",)), ("v1", "v1beta1", "v2")),
    ],
)
def test_what_the_cluster_serves_or_stores_and_we_do_not_know_would_be_lost(
    current: dict[str, Any], lost: tuple[str, ...]
) -> None:
    assert versions_lost(current, OURS) == lost


def test_a_version_that_only_we_know_is_no_loss() -> None:
    assert versions_lost(OURS, definition("v1alpha1", "v1")) == ()


def test_the_refusal_names_crd_and_versions_and_says_what_to_do() -> None:
    message = refuse_loss("storagefederations.caios.coreweave.com", ("v1", "v2"))
    assert message.startswith("CRD storagefederations.caios.coreweave.com: the cluster's serves or")
    assert "v1, v2" in message
    assert "Install that release or a later one" in message


def condition(kind: str, status: str, message: str = "") -> dict[str, Any]:
    return {"status": {"conditions": [{"type": kind, "status": status, "message": message}]}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, False),
        (condition("NamesAccepted", "True"), False),
        (condition("Established", "False"), False),
        (condition("Established", "True"), True),
    ],
)
def test_a_crd_is_served_once_it_is_established(body: dict[str, Any], expected: bool) -> None:
    assert is_established(body) is expected


def test_names_that_are_taken_are_told() -> None:
    taken = condition("NamesAccepted", "False", '"sfed" is already in use')
    assert naming_problem(taken) == '"sfed" is already in use'
    assert naming_problem(condition("NamesAccepted", "False")) == "the names are taken"
    assert naming_problem(condition("NamesAccepted", "True")) == ""
