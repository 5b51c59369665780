"""The Pods of a binding: which carry the identity, and which were created without it."""

from dataclasses import dataclass
from typing import Final

from caios_federation.api.conditions import Finding, Reason, Status

MISSED_SHOWN: Final = 20
"""Names of Pods in a status."""


@dataclass(frozen=True, slots=True)
class PodSurvey:
    """The running Pods of a ServiceAccount that are to be injected."""

    total: int
    federated: int
    missed: tuple[str, ...] = ()
    """Names of those without the identity, sorted."""


def judge_pods(survey: PodSurvey) -> Finding:
    """Tell whether all Pods carry the identity."""
    if not survey.total:
        return Finding(Status.TRUE, Reason.NO_PODS, "No Pod of the ServiceAccount is running.")
    if not survey.missed:
        return Finding(Status.TRUE, Reason.ALL_FEDERATED, "Every running Pod has the identity.")
    return Finding(
        Status.FALSE,
        Reason.PODS_MISSED,
        "Pods were created without the identity (status.pods.missed names them); restart them",
    )
