"""RBAC rules against requests, in both directions."""

from typing import Any

import pytest

from caios_testbed.audit import Use
from caios_testbed.rights import Right, rights_of, ungranted, unused


def role(namespace: str = "", **rule: list[str]) -> dict[str, Any]:
    metadata = {"name": "role", **({"namespace": namespace} if namespace else {})}
    return {"kind": "Role" if namespace else "ClusterRole", "metadata": metadata, "rules": [rule]}


def test_a_rule_is_taken_apart_into_single_rights() -> None:
    rule = role(apiGroups=["", "apps"], resources=["a", "b"], verbs=["get", "list"])

    assert len(rights_of([rule])) == 8
    assert Right("list", "b", "apps") in rights_of([rule])


def test_a_right_that_no_request_took_is_unused() -> None:
    rights = rights_of([role(apiGroups=[""], resources=["pods"], verbs=["get", "list"])])

    assert unused(rights, {Use("list", "pods", namespace="a", code=200)}) == [Right("get", "pods")]


def test_a_request_that_was_refused_uses_nothing_and_is_told() -> None:
    rights = rights_of([role(apiGroups=[""], resources=["pods"], verbs=["list"])])
    refused = Use("list", "pods", code=403)

    assert unused(rights, {refused}) == [Right("list", "pods")]
    assert ungranted(rights, {refused}) == [refused]


def test_a_request_that_another_rule_allowed_is_told() -> None:
    rights = rights_of([role(apiGroups=[""], resources=["pods"], verbs=["list"])])
    elsewhere = Use("get", "nodes", code=200)

    assert ungranted(rights, {elsewhere, Use("list", "pods", code=200)}) == [elsewhere]


@pytest.mark.parametrize(
    ("right", "use"),
    [
        (Right("get", "pods"), Use("get", "pods", namespace="a", name="b")),
        (Right("*", "*", "*"), Use("delete", "pods/eviction", "policy", "a", "b")),
        (Right("update", "*/status", "apps"), Use("update", "deployments/status", "apps")),
        (Right("get", "secrets", name="tls"), Use("get", "secrets", name="tls")),
        # A list by `fieldSelector=metadata.name=…` has the name, in the log as in authorization.
        (Right("watch", "secrets", name="tls"), Use("watch", "secrets", name="tls")),
        (Right("get", "pods", namespace="a"), Use("get", "pods", namespace="a")),
        (Right("get", url="/metrics/*"), Use("get", url="/metrics/slis")),
        (Right("get", url="/version"), Use("get", url="/version")),
    ],
)
def test_a_right_allows(right: Right, use: Use) -> None:
    assert right.allows(use)


@pytest.mark.parametrize(
    ("right", "use"),
    [
        (Right("get", "pods"), Use("list", "pods")),
        (Right("get", "pods"), Use("get", "pods/log")),
        (Right("get", "pods"), Use("get", "pods", "metrics.k8s.io")),
        (Right("update", "*/status", "apps"), Use("update", "deployments/scale", "apps")),
        (Right("get", "secrets", name="tls"), Use("get", "secrets", name="token")),
        (Right("list", "secrets", name="tls"), Use("list", "secrets")),
        (Right("create", "secrets", name="tls"), Use("create", "secrets")),
        (Right("get", "pods", namespace="a"), Use("get", "pods", namespace="b")),
        (Right("get", "pods", namespace="a"), Use("get", "pods")),
        (Right("get", url="/metrics"), Use("get", url="/metrics/slis")),
        (Right("get", "*", "*"), Use("get", url="/version")),
        (Right("get", url="*"), Use("get", "pods")),
    ],
)
def test_a_right_does_not_allow(right: Right, use: Use) -> None:
    assert not right.allows(use)


def test_names_of_a_rule_are_rights_of_their_own() -> None:
    rule = role(
        "ops", apiGroups=[""], resources=["secrets"], resourceNames=["a", "b"], verbs=["get"]
    )

    found = unused(rights_of([rule]), {Use("get", "secrets", namespace="ops", name="a")})
    assert found == [Right("get", "secrets", name="b", namespace="ops")]


def test_paths_of_a_rule_are_rights_of_their_own() -> None:
    rule = role(nonResourceURLs=["/a", "/b"], verbs=["get"])

    assert unused(rights_of([rule]), {Use("get", url="/a")}) == [Right("get", url="/b")]
