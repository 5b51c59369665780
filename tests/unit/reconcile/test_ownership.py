"""Whether a binding is the controller's own, or a user's."""

from typing import Any

import pytest

import builders
from caios_federation.core.ownership import is_ours

LABEL = {"app.kubernetes.io/managed-by": "caios-federation"}


def entry(manager: str, *fields: str, subresource: str = "") -> dict[str, Any]:
    owned: dict[str, Any] = {"manager": manager, "fieldsV1": {field: {} for field in fields}}
    return owned | ({"subresource": subresource} if subresource else {})


def made_by_us(*managed: dict[str, Any], **metadata: object) -> builders.Json:
    body = builders.binding()
    body["metadata"] |= {
        "labels": dict(LABEL),
        "managedFields": [entry("caios-federation", "f:metadata", "f:spec"), *managed],
        **metadata,
    }
    return body


def test_what_carries_our_label_is_ours() -> None:
    assert is_ours(made_by_us())


def test_the_label_alone_is_enough() -> None:
    assert is_ours({"metadata": {"labels": LABEL}})


@pytest.mark.parametrize("labels", [None, {}, {"app.kubernetes.io/managed-by": "Helm"}])
def test_without_our_label_it_is_not(labels: dict[str, str] | None) -> None:
    assert not is_ours(made_by_us(labels=labels))


@pytest.mark.parametrize("body", [{}, {"metadata": None}, {"metadata": {}}])
def test_what_has_no_metadata_is_not_ours(body: builders.Json) -> None:
    assert not is_ours(body)


def test_a_kubectl_apply_takes_it_over() -> None:
    annotation = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    assert not is_ours(made_by_us(annotations=annotation))


@pytest.mark.parametrize("manager", ["kubectl", "kubectl-edit", "argocd", ""])
def test_another_manager_that_sets_its_spec_takes_it_over(manager: str) -> None:
    assert not is_ours(made_by_us(entry(manager, "f:spec")))
    assert not is_ours(made_by_us(entry(manager, "f:metadata", "f:spec")))


def test_another_manager_of_its_metadata_does_not() -> None:
    assert is_ours(made_by_us(entry("kubectl-annotate", "f:metadata")))


@pytest.mark.parametrize("manager", ["caios-federation", "somebody"])
def test_who_writes_its_status_does_not(manager: str) -> None:
    assert is_ours(made_by_us(entry(manager, "f:status", subresource="status")))
    assert is_ours(made_by_us(entry(manager, "f:spec", subresource="status")))


def test_an_entry_without_fields_does_not() -> None:
    assert is_ours(made_by_us({"manager": "kubectl"}, {"manager": "x", "fieldsV1": None}))


def test_null_managed_fields_are_none() -> None:
    assert is_ours(made_by_us(managedFields=None))
