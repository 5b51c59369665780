"""The rights that are shipped are the least that each role needs.

What is looked at is what kustomize applies; tests/chart holds it equal to the rendered chart.
"""

from typing import Any

import yaml

from meta.repository import ROOT

KUSTOMIZE = ROOT / "deploy/kustomize"
FILES = [KUSTOMIZE / folder / "rbac.yaml" for folder in ("base", "remediation", "verification")]
OBJECTS: list[dict[str, Any]] = [
    body for file in FILES for body in yaml.safe_load_all(file.read_text())
]
ROLES = {
    (body["kind"], body["metadata"]["name"]): body["rules"]
    for body in OBJECTS
    if body["kind"] in {"Role", "ClusterRole"}
}
AGGREGATED = {("ClusterRole", f"caios-federation-{role}") for role in ("edit", "view")}
CONTROLLER = ("Role", "caios-federation-controller")


def holders(resource: str) -> dict[tuple[str, str], set[str]]:
    """Return the roles that may do something with `resource`, and what."""
    found: dict[tuple[str, str], set[str]] = {}
    for role, rules in ROLES.items():
        for rule in rules:
            if resource in rule.get("resources", ()):
                found.setdefault(role, set()).update(rule["verbs"])
    return found


def test_the_webhook_only_reads() -> None:
    rules = ROLES["ClusterRole", "caios-federation-webhook"]
    assert {verb for rule in rules for verb in rule["verbs"]} <= {"get", "list", "watch"}


def test_secrets_are_read_one_by_one_and_in_the_operators_namespace_alone() -> None:
    assert holders("secrets") == {CONTROLLER: {"create", "get", "patch"}}


def test_only_the_secret_of_the_serving_certificate_is_changed() -> None:
    named = [
        rule["resourceNames"]
        for rule in ROLES[CONTROLLER]
        if "secrets" in rule["resources"] and {"patch", "update", "delete"} & set(rule["verbs"])
    ]
    assert named == [["caios-federation-webhook-tls"]]


def test_tokens_are_made_by_a_role_that_can_be_left_out() -> None:
    role = ("ClusterRole", "caios-federation-verification")
    assert holders("serviceaccounts/token") == {role: {"create"}}
    assert len(ROLES[role]) == 1


def test_workloads_are_changed_by_a_role_that_can_be_left_out() -> None:
    role = ("ClusterRole", "caios-federation-remediation")
    assert holders("deployments") == {role: {"get", "patch"}}
    assert holders("pods/eviction") == {role: {"create"}}


def test_no_right_is_given_by_a_wildcard() -> None:
    fields = ("apiGroups", "resources", "verbs", "nonResourceURLs")
    given = [
        entry
        for rules in ROLES.values()
        for rule in rules
        for f in fields
        for entry in rule.get(f, ())
    ]
    assert [entry for entry in given if "*" in entry] == []


def test_every_role_is_bound_or_aggregated() -> None:
    bound = {
        (body["roleRef"]["kind"], body["roleRef"]["name"])
        for body in OBJECTS
        if body["kind"] in {"RoleBinding", "ClusterRoleBinding"}
    }
    assert bound | AGGREGATED == set(ROLES)
