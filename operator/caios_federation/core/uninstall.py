"""What uninstalling removes from bindings, what it leaves on purpose, and how people are told."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from caios_federation.api import vocabulary as words
from caios_federation.api.conditions import ConditionType
from caios_federation.api.objects import Json, Meta, mapping_of, parse_meta

_CONTROLLER: Final = "caios-federation-controller"
"""The Deployment, as the chart calls it."""
_ARN_ORGANIZATION: Final = 4
"""Place of the organization among the parts of `arn:aws:iam::<organization>:role/...`."""


@dataclass(frozen=True, slots=True)
class Policy:
    """An organization policy that a binding names."""

    name: str
    binding: str
    """`namespace/name`."""
    federation: str
    organization: str
    """Empty where neither federation nor binding tell it any more."""
    applied: bool
    """Applied by the operator; otherwise only rendered into the status."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that should have been removed and is still there."""

    what: str
    why: str
    by_hand: str
    """The command that removes it."""


@dataclass(slots=True)
class Report:
    """What was done, collected on the way."""

    namespace: str
    """The operator's."""
    removed: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    bindings: int = 0
    """How many are left."""
    policies: list[Policy] = field(default_factory=list)
    retained: dict[str, str] = field(default_factory=dict)
    """Policies whose bindings are gone: name -> the binding that it was of."""
    federations: list[str] = field(default_factory=list)
    token_secrets: list[str] = field(default_factory=list)
    definitions: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """Objects of others, each with the reason for leaving it."""
    unknown: list[str] = field(default_factory=list)
    """What could not be found out about what is left, and why."""

    def failed(self, what: str, why: str, by_hand: str) -> None:
        """Put on record what should have been removed and is still there."""
        self.failures.append(Failure(what, why, by_hand))


def remaining_finalizers(meta: Meta) -> list[str] | None:
    """Return the finalizers that a binding keeps, or None where it has none of ours."""
    if words.POLICY_FINALIZER not in meta.finalizers:
        return None
    return [name for name in meta.finalizers if name != words.POLICY_FINALIZER]


def finalizer_by_hand(meta: Meta, finalizers: Iterable[str]) -> str:
    """Return the command that leaves a binding the `finalizers` alone."""
    patch = json.dumps({"metadata": {"finalizers": list(finalizers)}})
    return f"kubectl patch fsb -n {meta.namespace} {meta.name} --type=merge -p '{patch}'"


def policy_of(body: Json, organizations: Mapping[str, str]) -> Policy | None:
    """Return the policy that a binding names, if it names one.

    `organizations` are those of the StorageFederations. Uninstalling a release takes the one that
    it had rendered away first; the ARN in the status tells the organization then.
    """
    status = mapping_of(body, "status")
    name = mapping_of(status, "policy").get("name")
    if not isinstance(name, str) or not name:
        return None
    meta = parse_meta(body)
    federation = mapping_of(body, "spec").get("federationName") or words.DEFAULT_FEDERATION
    return Policy(
        name=name,
        binding=meta.key,
        federation=str(federation),
        organization=organizations.get(federation) or _organization_of(status),
        applied=words.POLICY_FINALIZER in meta.finalizers or _was_synced(status),
    )


def still_acting(namespace: str, lease: str, holder: str) -> str:
    """Return what people are told when a controller keeps the Lease."""
    return (
        f"Lease {namespace}/{lease}: {holder or 'a controller'} has it and goes on acting; it "
        "would put everything back, so nothing was removed. End it first: "
        f"kubectl delete deployment -n {namespace} {_CONTROLLER}"
    )


def render_report(report: Report) -> Iterator[str]:
    """Yield the lines of a report for people."""
    yield "Removed:" if report.removed else "Removed: nothing; there was nothing left."
    yield from (f"  {line}" for line in report.removed)
    yield ""
    yield "Left on purpose:"
    yield from _definitions(report)
    yield from _objects(report)
    yield from _policies(report)
    yield from (f"  {line}" for line in report.kept)
    yield "  Pods that run: their credentials work for as long as policies and trust exist."
    if report.unknown:
        yield ""
        yield "Not known, since it could not be read:"
        yield from (f"  {line}" for line in report.unknown)
    if report.failures:
        yield ""
        yield "NOT removed; by hand:"
        for failure in report.failures:
            yield f"  {failure.what}: {failure.why}"
            yield f"    {failure.by_hand}"


def _definitions(report: Report) -> Iterator[str]:
    if report.definitions:
        yield "  The CRDs. Removing them removes every binding and StorageFederation:"
        yield f"    kubectl delete crd {' '.join(report.definitions)}"


def _objects(report: Report) -> Iterator[str]:
    if report.bindings:
        yield (
            f"  FederatedStorageBindings: {report.bindings} (kubectl get fsb -A). They do nothing "
            "now, and serve again after a new installation."
        )
    if report.federations:
        yield f"  StorageFederations: {', '.join(report.federations)} (kubectl get sfed)."
    for name in report.token_secrets:
        yield (
            f"  Secret {report.namespace}/{name} with CoreWeave's API token, which is not ours: "
            f"kubectl delete secret -n {report.namespace} {name}"
        )
    if report.retained:
        yield (
            f"  ConfigMap {report.namespace}/{words.RETAINED_POLICIES}, the record of policies "
            "that outlive their bindings: a new installation needs it to leave them alone."
        )


def _policies(report: Report) -> Iterator[str]:
    applied = [policy for policy in report.policies if policy.applied]
    rendered = [policy for policy in report.policies if not policy.applied]
    if applied:
        yield (
            "  Policies at CoreWeave that the operator applied. They grant access until they are "
            "deleted, in the Console or by its API (DELETE /v1/cwobject/access-policy/NAME). Next "
            "time delete the bindings before uninstalling: their policies go with them."
        )
        yield from _grouped(applied)
    if report.retained:
        yield "  Policies at CoreWeave whose bindings are gone and had deletionPolicy Retain:"
        yield from (f"    {name} of {binding}" for name, binding in sorted(report.retained.items()))
    if rendered:
        yield (
            "  Policies that were only rendered into a status. If somebody entered one in the "
            "Console, it is still there:"
        )
        yield from _grouped(rendered)


def _grouped(policies: Iterable[Policy]) -> Iterator[str]:
    def place(policy: Policy) -> tuple[str, str]:
        return policy.organization, policy.federation

    ordered = sorted(policies, key=lambda policy: (*place(policy), policy.name))
    for (organization, federation), group in groupby(ordered, key=place):
        which = (
            f"organization {organization}" if organization else "organization not known any more"
        )
        yield f"    {which}, StorageFederation {federation}:"
        yield from (f"      {policy.name} of {policy.binding}" for policy in group)


def _organization_of(status: Json) -> str:
    parts = str(status.get("principalARN") or "").split(":")
    return parts[_ARN_ORGANIZATION] if len(parts) > _ARN_ORGANIZATION else ""


def _was_synced(status: Json) -> bool:
    """Tell whether policies were applied: the condition is left out where they are rendered."""
    conditions: Any = status.get("conditions")
    return any(
        entry.get("type") == ConditionType.POLICY_SYNCED
        for entry in (conditions if isinstance(conditions, list) else ())
    )
