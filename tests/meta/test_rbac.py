"""The rights that are shipped are the least that each role needs."""

from typing import Any

import yaml

from meta.repository import ROOT

FILE = ROOT / "deploy/kustomize/base/rbac.yaml"
OBJECTS: list[dict[str, Any]] = list(yaml.safe_load_all(FILE.read_text()))
ROLES = {
    (body["kind"], body["metadata"]["name"]): body["rules"]
    for body in OBJECTS
    if body["kind"] in {"Role", "ClusterRole"}
}
AGGREGATED = {("ClusterRole", f"caios-federation-{role}") for role in ("edit", "view")}


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
    assert holders("secrets") == {("Role", "caios-federation-controller"): {"get"}}


def test_tokens_are_made_by_a_role_that_can_be_left_out() -> None:
    role = ("ClusterRole", "caios-federation-verification")
    assert holders("serviceaccounts/token") == {role: {"create"}}
    assert len(ROLES[role]) == 1


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
