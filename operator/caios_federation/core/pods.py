"""The Pods of a binding: which carry the identity, and which were created without it.

Judged as admission would judge them today, so that a Pod counts exactly when it would be injected
if it were created now.
"""

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from caios_federation.api import vocabulary as words
from caios_federation.api.conditions import Finding, Reason, Status
from caios_federation.api.objects import Json, mapping_of, parse_meta
from caios_federation.core.injection import Sources, Values, opted_out, resolve
from caios_federation.core.plan import Placement, plan
from caios_federation.core.pod import Pod, read_pod
from caios_federation.core.principal import Principal
from caios_federation.core.text import shown
from caios_federation.core.times import parse_time

MISSED_SHOWN: Final = 20
"""Names of Pods in a status."""
_NAMED: Final = 3
"""Names of Pods in a message."""
_NAME_SHOWN: Final = 50
"""Characters of a name in a message."""
_OVER: Final = frozenset({"Succeeded", "Failed"})
"""Phases in which no container runs any more."""
_ROLLS: Final = frozenset({"ReplicaSet", "StatefulSet", "DaemonSet"})
"""Controllers of Pods whose workloads can be restarted."""
_EPOCH: Final = dt.datetime.fromtimestamp(0, dt.UTC)


@dataclass(frozen=True, slots=True)
class PodSurvey:
    """The running Pods of a ServiceAccount that are to be injected."""

    total: int
    federated: int
    missed: tuple[str, ...] = ()
    """Names of those without the identity, sorted."""
    next_step: str = "restart what owns them, or set spec.remediation: Restart"
    """What is to be done, or being done, about those."""
    problem: str = ""
    """Why the Pods could not be listed."""


class Standing(Enum):
    """What a Pod means for its binding."""

    UNCONCERNED = auto()
    """Over, on its way out, opted out, or with credentials of its own: not counted."""
    FEDERATED = auto()
    """It carries the identity."""
    MISSED = auto()
    """It would be injected if it were created now, and was not."""
    STALE = auto()
    """It was injected, and would be given another principal if it were created now."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The controller of an object: whom its owner reference with `controller: true` names."""

    api_version: str
    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class CountedPod:
    """What is kept of a Pod that counts."""

    name: str
    uid: str
    created: dt.datetime
    """Whole seconds, by the API server's clock."""
    federated: bool
    ready: bool
    owner: Owner | None
    stale: bool = False
    """Not federated, since it carries another principal."""


@dataclass(frozen=True, slots=True)
class Survey:
    """All Pods of a ServiceAccount that count, at one moment."""

    pods: tuple[CountedPod, ...] = ()
    problem: str = ""
    """Why they could not be listed."""

    @property
    def missed(self) -> tuple[CountedPod, ...]:
        """Those without the identity, by name."""
        return tuple(sorted((p for p in self.pods if not p.federated), key=lambda p: p.name))

    def summary(self, next_step: str = "") -> PodSurvey:
        """Return what is judged and written to a status."""
        missed = self.missed
        return PodSurvey(
            total=len(self.pods),
            federated=len(self.pods) - len(missed),
            missed=tuple(pod.name for pod in missed),
            next_step=next_step or _by_hand(missed),
            problem=self.problem,
        )


def namespaces_left_alone(own: str) -> frozenset[str]:
    """Return the namespaces whose Pods are never injected; `own` is the operator's."""
    return frozenset({own, "kube-system", "kube-node-lease"})


def principal_given(
    sources: Sources, namespace_labels: Mapping[str, str] | None, left_alone: Collection[str]
) -> Principal | None:
    """Return the principal that new Pods of the ServiceAccount are given.

    None where they are not to be injected at all; then Pods do not count.
    """
    if sources.namespace in left_alone or (namespace_labels or {}).get(words.INJECT) == words.FALSE:
        return None
    values = resolve(sources)
    return values.principal if isinstance(values, Values) else None


def standing_of(raw: Json, sources: Sources, place: Placement) -> Standing:
    """Judge a Pod of the ServiceAccount that `sources` are about.

    A Pod whose principal is another one by now (the cluster's issuer changed) lacks the identity
    too: no policy names what its token says, and only a new Pod gets another token.
    """
    pod = read_pod(raw)
    if _is_over(raw) or opted_out(pod):
        return Standing.UNCONCERNED
    values = resolve(sources, pod.annotations)
    if not isinstance(values, Values):
        return Standing.UNCONCERNED
    if _was_injected(pod):
        stale = pod.annotations[words.PRINCIPAL] != values.principal
        return Standing.STALE if stale else Standing.FEDERATED
    additions = plan(pod, values, place).additions
    if any(name == words.ENV_CREDENTIALS_URI for one in additions for name, _ in one.env):
        return Standing.MISSED
    return Standing.UNCONCERNED


def count_pod(raw: Json, sources: Sources, place: Placement) -> CountedPod | None:
    """Return what is kept of a Pod, or None where it does not count."""
    standing = standing_of(raw, sources, place)
    if standing is Standing.UNCONCERNED:
        return None
    meta = parse_meta(raw)
    return CountedPod(
        name=meta.name,
        uid=meta.uid,
        created=parse_time(meta.created) or _EPOCH,
        federated=standing is Standing.FEDERATED,
        ready=_is_ready(raw),
        owner=controller_of(raw),
        stale=standing is Standing.STALE,
    )


def controller_of(body: Json) -> Owner | None:
    """Return the controller of an object, if it has one."""
    references = mapping_of(body, "metadata").get("ownerReferences")
    for entry in references if isinstance(references, list) else ():
        if isinstance(entry, Mapping) and entry.get("controller") is True:
            keys = ("apiVersion", "kind", "name", "uid")
            return Owner(*(str(entry.get(key) or "") for key in keys))
    return None


def judge_pods(survey: PodSurvey) -> Finding:
    """Tell whether all Pods carry the identity."""
    if survey.problem:
        return Finding(Status.UNKNOWN, Reason.PENDING, survey.problem)
    if not survey.total:
        # They come and go between two looks, so nothing is said of now.
        message = "No Pod of the ServiceAccount was running when last looked at."
        return Finding(Status.TRUE, Reason.NO_PODS, message)
    if not survey.missed:
        return Finding(Status.TRUE, Reason.ALL_FEDERATED, "Every running Pod has the identity.")
    names = ", ".join(shown(name, _NAME_SHOWN) for name in survey.missed[:_NAMED])
    more = " and others" if len(survey.missed) > _NAMED else ""
    return Finding(
        Status.FALSE,
        Reason.PODS_MISSED,
        f"Pods without the identity: {names}{more}; {survey.next_step}",
    )


def render_pods(survey: PodSurvey) -> Json:
    """Return `status.pods`; empty where the Pods could not be listed.

    Nothing is said of Pods that missed where there are none: server-side apply drops a list from
    which it takes the last entry, and a status with the empty list would never equal that.
    """
    if survey.problem:
        return {}
    missed = list(survey.missed[:MISSED_SHOWN])
    told = {"missed": missed} if missed else {}
    return {"total": survey.total, "federated": survey.federated, **told}


def _was_injected(pod: Pod) -> bool:
    """Tell whether the marks are ours: without the variable a template was copied from a Pod."""
    return (
        pod.labels.get(words.FEDERATED) == words.TRUE
        and isinstance(pod.annotations.get(words.PRINCIPAL), str)
        and any(words.ENV_CREDENTIALS_URI in container.env for container in pod.containers)
    )


def _is_over(raw: Json) -> bool:
    return parse_meta(raw).deleting or mapping_of(raw, "status").get("phase") in _OVER


def _is_ready(raw: Json) -> bool:
    conditions: Any = mapping_of(raw, "status").get("conditions")
    return any(
        isinstance(entry, Mapping)
        and entry.get("type") == "Ready"
        and entry.get("status") == Status.TRUE
        for entry in (conditions if isinstance(conditions, list) else ())
    )


def _by_hand(missed: Collection[CountedPod]) -> str:
    if any(pod.owner is not None and pod.owner.kind in _ROLLS for pod in missed):
        return "restart what owns them, or set spec.remediation: Restart"
    return "delete them, and create anew what nothing else creates anew"
