"""The closed list of conditions and reasons, as statuses that tests see are held against it."""

from builders import Json
from caios_federation.api.conditions import ConditionType, Status
from caios_federation.api.reasons import ANSWERS, QUESTIONS

Said = tuple[str, str, str]
"""Condition, status and reason."""


def unlisted(kind: str, status: Json) -> list[Said]:
    """Return what the status of an object of `kind` says that the list does not have."""
    known = _listed(kind)
    said = [(entry["type"], entry["status"], entry["reason"]) for entry in status["conditions"]]
    return [each for each in said if each not in known]


def _listed(kind: str) -> set[Said]:
    of_kind = {question.condition for question in QUESTIONS if kind in question.kinds}
    judged: set[Said] = {
        (condition, answer.status, answer.reason)
        for answer in ANSWERS
        for condition in answer.conditions
        if condition in of_kind
    }
    bad = ((status, reason) for _, status, reason in judged if status != Status.TRUE)
    return judged | {(ConditionType.READY, status, reason) for status, reason in bad}
