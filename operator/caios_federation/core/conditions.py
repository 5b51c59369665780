"""Conditions: how findings become a status (Kubernetes API conventions)."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from caios_federation.api.conditions import Condition, ConditionType, Finding, Reason, Status
from caios_federation.api.objects import Json

_MESSAGE_LIMIT: Final = 4096
"""Characters: room for the longest issuer and audience, 1024 each, with all that is said of them,
as people are to enter them. The CRDs would take 32768."""


def merge_conditions(
    previous: Iterable[Mapping[str, Any]],
    findings: Mapping[ConditionType, Finding],
    *,
    generation: int,
    now: str,
) -> list[Condition]:
    """Return the conditions that `findings` make, with Ready at the end.

    `lastTransitionTime` is `now` (RFC 3339) only where the status flips or the condition is new.
    """
    before = {entry.get("type"): entry for entry in previous}
    merged = []
    for kind, finding in {**findings, ConditionType.READY: ready(findings)}.items():
        old = before.get(kind, {})
        same = old.get("status") == finding.status and bool(old.get("lastTransitionTime"))
        merged.append(
            Condition(
                type=kind,
                status=finding.status,
                reason=finding.reason,
                message=finding.message[:_MESSAGE_LIMIT],
                observed_generation=generation,
                last_transition_time=str(old["lastTransitionTime"]) if same else now,
            )
        )
    return merged


def ready(findings: Mapping[ConditionType, Finding]) -> Finding:
    """Return whether everything holds; otherwise what the first that does not has found."""
    for finding in findings.values():
        if finding.status is not Status.TRUE:
            return finding
    return Finding(Status.TRUE, Reason.READY, "Everything that is switched on works.")


def render_condition(condition: Condition) -> dict[str, Any]:
    """Return `condition` as the API has it."""
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": condition.observed_generation,
        "lastTransitionTime": condition.last_transition_time,
    }


def turned_conditions(before: Json, after: Json) -> list[Mapping[str, Any]]:
    """Return the conditions of the status `after` whose status or reason is none of `before`."""
    known = {
        (entry.get("type"), entry.get("status"), entry.get("reason"))
        for entry in before.get("conditions") or ()
    }
    return [
        entry
        for entry in after["conditions"]
        if (entry["type"], entry["status"], entry["reason"]) not in known
    ]


def recorded_condition(status: Json, kind: ConditionType) -> Mapping[str, Any]:
    """Return the condition `kind` as a status has it, or an empty mapping."""
    entries = (entry for entry in status.get("conditions") or () if entry.get("type") == kind)
    return next(entries, {})


def recorded_finding(status: Json, kind: ConditionType) -> Finding | None:
    """Return what a status says of the condition `kind`; None where it says nothing we know."""
    entry = recorded_condition(status, kind)
    try:
        return Finding(Status(entry["status"]), Reason(entry["reason"]), str(entry["message"]))
    except (KeyError, ValueError):
        return None
