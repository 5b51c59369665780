"""Statuses, as they are written: facts first, conditions last."""

from collections.abc import Mapping
from typing import Any

from caios_federation.api.conditions import ConditionType, Status
from caios_federation.api.objects import Json
from caios_federation.core.checks import judge_binding
from caios_federation.core.conditions import merge_conditions, render_condition
from caios_federation.core.federation_checks import judge_federation
from caios_federation.core.injection import Sources, Values, compute_values, effective_issuer
from caios_federation.core.naming import policy_name
from caios_federation.core.observed import ObservedBinding, ObservedFederation
from caios_federation.core.policy import compile_policy, digest, render_document
from caios_federation.core.principal import render_principal_arn


def binding_status(seen: ObservedBinding, *, now: str) -> dict[str, Any]:
    """Return the status of a binding. Facts are stated only while it is in force."""
    binding = seen.binding
    findings = judge_binding(seen)
    facts: dict[str, Any] = {}
    if findings[ConditionType.ACCEPTED].status is Status.TRUE and seen.federation is not None:
        sources = Sources(
            namespace=binding.meta.namespace,
            service_account=binding.spec.service_account_name,
            annotations=seen.annotations or {},
            binding=binding,
            federation=seen.federation,
            discovered_issuer=seen.discovered_issuer,
        )
        values = compute_values(sources)
        if isinstance(values, Values):
            facts = _facts(seen, values, seen.federation.spec.organization_id)
    conditions = merge_conditions(
        binding.status.get("conditions") or (),
        findings,
        generation=binding.meta.generation,
        now=now,
    )
    return {
        "observedGeneration": binding.meta.generation,
        **facts,
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


def _facts(seen: ObservedBinding, values: Values, organization: str) -> dict[str, Any]:
    binding = seen.binding
    facts: dict[str, Any] = {
        "issuer": values.issuer,
        "audience": values.audience,
        "principal": values.principal,
        "principalARN": render_principal_arn(organization, values.principal),
        "credentialsURI": values.credentials_uri,
    }
    if binding.spec.grants:
        name = policy_name(values.issuer, binding.meta.namespace, binding.meta.name)
        policy = compile_policy(name, values.principal, binding.spec.grants)
        facts["policy"] = {
            "name": name,
            "digest": digest(policy),
            "document": render_document(policy),
        }
    return facts
