"""Statuses, as they are written: facts first, conditions last."""

from collections.abc import Mapping
from typing import Any

from caios_federation.api.binding import Binding
from caios_federation.api.conditions import ConditionType, Finding, Status
from caios_federation.api.objects import Json
from caios_federation.core.checks import judge_accepted, judge_binding
from caios_federation.core.conditions import merge_conditions, render_condition
from caios_federation.core.federation_checks import judge_federation
from caios_federation.core.injection import Sources, Values, compute_values, effective_issuer
from caios_federation.core.naming import policy_name
from caios_federation.core.observed import ObservedBinding, ObservedFederation
from caios_federation.core.pods import render_pods
from caios_federation.core.policy import Policy, compile_policy, digest, render_document
from caios_federation.core.principal import render_principal_arn


def binding_status(seen: ObservedBinding, *, now: str) -> dict[str, Any]:
    """Return the status of a binding. Facts are stated only while it is in force."""
    binding = seen.binding
    conditions = merge_conditions(
        binding.status.get("conditions") or (),
        judge_binding(seen),
        generation=binding.meta.generation,
        now=now,
    )
    return {
        "observedGeneration": binding.meta.generation,
        **facts_in_force(seen),
        "conditions": [render_condition(condition) for condition in conditions],
    }


def leaving_status(binding: Binding, finding: Finding, *, now: str) -> dict[str, Any]:
    """Return the status of a binding that is being deleted and cannot go: why, and its facts."""
    findings = {ConditionType.POLICY_SYNCED: finding}
    conditions = merge_conditions(
        binding.status.get("conditions") or (),
        findings,
        generation=binding.meta.generation,
        now=now,
    )
    return {
        **binding.status,
        "observedGeneration": binding.meta.generation,
        "conditions": [render_condition(condition) for condition in conditions],
    }


def federation_status(seen: ObservedFederation, *, now: str) -> dict[str, Any]:
    """Return the status of a federation."""
    federation = seen.federation
    issuer = effective_issuer(federation, seen.discovered_issuer)
    conditions = merge_conditions(
        federation.status.get("conditions") or (),
        judge_federation(seen),
        generation=federation.meta.generation,
        now=now,
    )
    return {
        "observedGeneration": federation.meta.generation,
        **({"issuer": issuer} if issuer else {}),
        "bindings": {"total": seen.bindings_total, "ready": seen.bindings_ready},
        "conditions": [render_condition(condition) for condition in conditions],
    }


def is_ready(status: Json) -> bool:
    """Tell whether a status says Ready."""
    return any(
        condition.get("type") == ConditionType.READY and condition.get("status") == Status.TRUE
        for condition in status.get("conditions") or ()
    )


def same_status(left: Json, right: Json) -> bool:
    """Tell whether two statuses say the same; conditions are a map, whatever their order."""
    return _by_type(left) == _by_type(right)


def _by_type(status: Json) -> Mapping[str, Any]:
    conditions = {entry.get("type"): entry for entry in status.get("conditions") or ()}
    return {**status, "conditions": conditions}


def facts_in_force(seen: ObservedBinding) -> dict[str, Any]:
    """Return the facts of a binding's status; none while it is not accepted."""
    values = values_in_force(seen)
    if values is None or seen.federation is None:
        return {}
    binding, organization = seen.binding, seen.federation.spec.organization_id
    facts: dict[str, Any] = {
        "issuer": values.issuer,
        "audience": values.audience,
        "principal": values.principal,
        "principalARN": render_principal_arn(organization, values.principal),
        "credentialsURI": values.credentials_uri,
    }
    policy = policy_of(binding, values)
    if policy is not None:
        facts["policy"] = {
            "name": policy.name,
            "digest": digest(policy),
            "document": render_document(policy),
        }
    if seen.pods is not None and (pods := render_pods(seen.pods)):
        facts["pods"] = pods
    if seen.verified_at is not None:
        facts["lastVerifiedTime"] = seen.verified_at
    return facts


def policy_of(binding: Binding, values: Values) -> Policy | None:
    """Return the policy of a binding; None where it grants nothing."""
    if not binding.spec.grants:
        return None
    name = policy_name(values.issuer, binding.meta.namespace, binding.meta.name)
    return compile_policy(name, values.principal, binding.spec.grants)


def values_in_force(seen: ObservedBinding) -> Values | None:
    """Return the values that a binding gives its Pods; None while it is not accepted."""
    if judge_accepted(seen).status is not Status.TRUE:
        return None
    values = compute_values(sources_of(seen))
    return values if isinstance(values, Values) else None


def sources_of(seen: ObservedBinding) -> Sources:
    """Return everything that has a say about the Pods of the binding's ServiceAccount."""
    return Sources(
        namespace=seen.binding.meta.namespace,
        service_account=seen.binding.spec.service_account_name,
        annotations=seen.annotations or {},
        binding=seen.binding,
        federation=seen.federation,
        discovered_issuer=seen.discovered_issuer,
    )
