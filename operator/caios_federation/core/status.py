"""Statuses, as they are written: facts first, conditions last."""

from collections.abc import Mapping
from typing import Any

from caios_federation.api.binding import Binding
from caios_federation.api.conditions import ConditionType, Finding, Status
from caios_federation.api.objects import Json
from caios_federation.core.checks import judge_binding
from caios_federation.core.conditions import merge_conditions, render_condition
from caios_federation.core.federation_checks import judge_federation
from caios_federation.core.injection import effective_issuer
from caios_federation.core.judgement import Judgement
from caios_federation.core.new_pods import render_new_pods
from caios_federation.core.observed import Acted, ObservedFederation
from caios_federation.core.pods import render_pods


def binding_status(judged: Judgement, acted: Acted, *, now: str) -> dict[str, Any]:
    """Return the status of a binding. Facts are stated only while it is in force."""
    binding = judged.seen.binding
    conditions = merge_conditions(
        binding.status.get("conditions") or (),
        judge_binding(judged.seen, judged.accepted, acted),
        generation=binding.meta.generation,
        now=now,
    )
    return {
        "observedGeneration": binding.meta.generation,
        **judged.facts,
        **(_facts(acted) if judged.facts else {}),
        **({"newPods": render_new_pods(acted.new_pods)} if acted.new_pods else {}),
        "conditions": [render_condition(condition) for condition in conditions],
    }


def _facts(acted: Acted) -> dict[str, Any]:
    pods = None if acted.pods is None else render_pods(acted.pods)
    told = {"pods": pods, "lastVerifiedTime": acted.verified_at}
    return {name: fact for name, fact in told.items() if fact}


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
