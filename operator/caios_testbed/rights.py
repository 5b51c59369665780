"""Compare RBAC rules with the requests that were made: what is granted for nothing, what lacks.

How rules match requests: https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from caios_testbed.audit import Use

ANY = "*"


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One verb on one resource, or on one path: the smallest part of a rule."""

    verb: str
    resource: str = ""
    group: str = ""
    name: str = ANY
    """An object's, where the rule lists `resourceNames`."""
    namespace: str = ANY
    """A Role's; a ClusterRole that is bound by a ClusterRoleBinding reaches all."""
    url: str = ""
    """A path, or one that ends in `*`; without resource then."""

    def allows(self, use: Use) -> bool:
        """Whether this right is enough for the request."""
        if self.verb not in {ANY, use.verb}:
            return False
        if self.url or use.url:
            return bool(self.url and use.url) and _path_matches(self.url, use.url)
        return (
            self.group in {ANY, use.group}
            and _resource_matches(self.resource, use.resource)
            and self.name in {ANY, use.name}
            and self.namespace in {ANY, use.namespace}
        )


def rights_of(roles: Iterable[Mapping[str, Any]]) -> set[Right]:
    """Return the single rights that Roles and ClusterRoles, as manifests, consist of.

    ClusterRoles count as bound for the whole cluster.
    """
    return {
        right
        for role in roles
        for rule in role.get("rules") or ()
        for right in _rights(rule, role["metadata"].get("namespace", ANY))
    }


def unused(rights: Iterable[Right], uses: Iterable[Use]) -> list[Right]:
    """Return the rights without which every request would have been allowed as well, sorted."""
    made = {use for use in uses if not use.refused}
    return sorted(right for right in rights if not any(map(right.allows, made)))


def ungranted(rights: Iterable[Right], uses: Iterable[Use]) -> list[Use]:
    """Return the requests that were refused, or that none of the rights is for, sorted.

    The latter were allowed by rules of others, as those that Kubernetes gives to everybody.
    """
    granted = tuple(rights)
    return sorted(
        use for use in set(uses) if use.refused or not any(r.allows(use) for r in granted)
    )


def _rights(rule: Mapping[str, Any], namespace: str) -> Iterator[Right]:
    def entries(field: str) -> Sequence[str]:
        found: Sequence[str] = rule.get(field) or ()
        return found

    for verb, url in product(entries("verbs"), entries("nonResourceURLs")):
        yield Right(verb, url=url)
    names = entries("resourceNames") or (ANY,)
    for verb, group, resource, name in product(
        entries("verbs"), entries("apiGroups"), entries("resources"), names
    ):
        yield Right(verb, resource, group, name, namespace)


def _resource_matches(granted: str, asked: str) -> bool:
    """Tell whether a rule's resource covers one: `*` is any, `*/scale` any of that subresource."""
    if granted in {ANY, asked}:
        return True
    return granted.startswith("*/") and asked.partition("/")[2] == granted[2:]


def _path_matches(granted: str, asked: str) -> bool:
    """Tell whether a rule's path covers one: a star at its end is anything."""
    if granted.endswith(ANY):
        return asked.startswith(granted[:-1])
    return granted == asked
