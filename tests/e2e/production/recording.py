"""What each ServiceAccount of a release may do, by its rules, and what it did, by the audit log."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from caios_testbed.audit import Use, requests_of
from caios_testbed.product import Kubectl
from caios_testbed.release import NAME, Release
from caios_testbed.rights import Right, rights_of

EVERYBODYS = (
    "system:basic-user",
    "system:discovery",
    "system:public-info-viewer",
    "system:service-account-issuer-discovery",
)
"""ClusterRoles that Kubernetes gives to every ServiceAccount."""


@dataclass(slots=True)
class Recording:
    """What users did since it began, and what they may do."""

    release: Release
    began: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    rights: dict[str, set[Right]] = field(default_factory=lambda: defaultdict(set))
    """By the part of the operator: `webhook`, `controller`, and a hook by its name."""
    everybodys: set[Right] = field(default_factory=set)
    kept: dict[str, set[Use]] = field(default_factory=dict)
    """What parts did until their recording was ended."""

    def take_rights(self) -> None:
        """Add the rights that the release, as it is installed now, gives to its parts."""
        objects = self.release.objects()
        roles = {_key(body): body for body in objects if body["kind"].endswith("Role")}
        for binding in (body for body in objects if body["kind"].endswith("RoleBinding")):
            reference, metadata = binding["roleRef"], binding["metadata"]
            where = metadata.get("namespace", "") if reference["kind"] == "Role" else ""
            role = roles[reference["kind"], where, reference["name"]]
            for subject in binding["subjects"]:
                self.rights[subject["name"].removeprefix(f"{NAME}-")] |= rights_of([role])
        self.everybodys = rights_of(_cluster_roles(self.release.kubectl, EVERYBODYS))

    def end(self, *parts: str) -> None:
        """Record no more of `parts`: an uninstallation takes their rights away first."""
        self.kept |= {part: self.uses(part) for part in parts}

    def uses(self, part: str) -> set[Use]:
        """Return what a part of the operator asked of the API server."""
        if part in self.kept:
            return self.kept[part]
        user = f"system:serviceaccount:{self.release.namespace}:{NAME}-{part}"
        return requests_of(self.release.cluster.audit_log, {user}, self.began)

    def has_used(self, part: str, verb: str, resource: str) -> bool:
        """Tell whether a part used a verb on a resource, and was not refused."""
        return any(
            (use.verb, use.resource, use.refused) == (verb, resource, False)
            for use in self.uses(part)
        )


def _key(body: Mapping[str, Any]) -> tuple[str, str, str]:
    metadata = body["metadata"]
    return body["kind"], metadata.get("namespace", ""), metadata["name"]


def _cluster_roles(kubectl: Kubectl, names: Iterable[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        kubectl.run("get", "clusterroles", *names, "--output=json")
    )["items"]
    return found
