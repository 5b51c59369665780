"""Whether what owns Pods that missed injection is restarted: once per cause, never in a loop.

A restart makes new Pods, which are injected unless injection does not work. So a second restart
takes evidence that the first one's new Pods missed for a cause that is over.

A cause is a moment at which it ended: the webhook came back, new Pods began to be given the
identity, or another one (`new_pods.py`). The Pods from before it are excused, and an owner is
restarted after it, which is noted on the owner. So no owner is restarted twice for one cause,
whatever its new Pods do, and whichever causes take turns.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from caios_federation.api import vocabulary as words
from caios_federation.api.conditions import ConditionType
from caios_federation.api.objects import Json, mapping_of
from caios_federation.core.pods import CountedPod, Owner
from caios_federation.core.text import cut, shown
from caios_federation.core.times import parse_time, render_time

SETTLING: Final = dt.timedelta(seconds=10)
"""How long injection must have been possible: API servers and webhook replicas learn of a
configuration and of a binding by watches. Until then Pods may miss it for the same cause."""
_SHORTEST_DOUBLED: Final = dt.timedelta(seconds=60)
_MOST_DOUBLINGS: Final = 16
_UNREADY_AT_ONCE: Final = 10
"""Evictions of Pods that serve nobody, each time that a ReplicaSet is looked at."""
_NAME_SHOWN: Final = 50
_WHY_SHOWN: Final = 160
_CLAUSES: Final = 2
"""Owners that a message tells of; with the names of three Pods it stays below 500 characters."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What owns Pods, as far as restarting it is concerned."""

    kind: str
    name: str
    restarted_at: dt.datetime | None = None
    """When we last restarted it, by our clock."""
    in_vain: int = 0
    """How many of our restarts in a row were repeats, since only some new Pods were injected."""
    obstacle: str | None = None
    """Why it cannot be restarted by us."""

    @property
    def label(self) -> str:
        """The workload as messages name it."""
        return f"{self.kind} {shown(self.name, _NAME_SHOWN)}"


@dataclass(frozen=True, slots=True)
class Restart:
    """Restart it now."""

    in_vain: int = 0
    """What to note on it."""


@dataclass(frozen=True, slots=True)
class AlreadyRestarting:
    """Each Pod that missed is older than our restart: its rollout replaces it."""


@dataclass(frozen=True, slots=True)
class Later:
    """Look again."""

    seconds: float


@dataclass(frozen=True, slots=True)
class NotServing:
    """New Pods would miss injection too."""


@dataclass(frozen=True, slots=True)
class NotAgain:
    """Its new Pods lack the identity too, and nothing says that this has changed."""

    stale: bool = False
    """They were injected, with another principal."""


@dataclass(frozen=True, slots=True)
class CannotRoll:
    """A person has to do it."""

    why: str


Decision = Restart | AlreadyRestarting | Later | NotServing | NotAgain | CannotRoll


def decide_restart(
    workload: Workload,
    pods: Collection[CountedPod],
    now: dt.datetime,
    cooldown: dt.timedelta,
    injecting_since: dt.datetime | None,
) -> Decision:
    """Decide about a workload some of whose `pods` missed injection.

    `injecting_since` is when new Pods last began to be given the identity: when the webhook last
    came up, or since when they are to be given this one, whichever is later. None while the webhook
    does not serve.

    A webhook that injects nothing sees one restart, and one more for each cause that ended; one
    that injects some Pods only sees restarts at doubling distances.
    """
    if workload.obstacle is not None:
        return CannotRoll(workload.obstacle)
    if injecting_since is None:
        return NotServing()
    found = _cause(workload, pods, cooldown, injecting_since)
    if not isinstance(found, tuple):
        return found
    due, restart = found
    return restart if due <= now else Later((due - now).total_seconds())


def _cause(
    workload: Workload,
    pods: Collection[CountedPod],
    cooldown: dt.timedelta,
    injecting_since: dt.datetime,
) -> tuple[dt.datetime, Restart] | AlreadyRestarting | NotAgain:
    """Return the restart that there is a cause for, and when it is due; or why there is none."""
    settled = injecting_since + SETTLING
    if workload.restarted_at is None:
        return settled, Restart()
    # Clocks differ by little, and the Pods' has whole seconds. A Pod on the wrong side of the line
    # is reported as being restarted, or waits for the cooldown; neither makes a loop.
    young = [pod for pod in pods if pod.created >= workload.restarted_at]
    missed = [pod for pod in young if not pod.federated]
    if not missed:
        return AlreadyRestarting()
    if any(pod.created < settled for pod in missed):
        # A cause that has ended since. Restarted when that has settled, Pods that are younger than
        # the restart are none of these any more.
        return max(settled, workload.restarted_at + cooldown), Restart()
    if len(missed) < len(young):
        # Injection works, and did not for a moment, or does not always.
        doubled = max(cooldown, _SHORTEST_DOUBLED) * 2 ** min(workload.in_vain, _MOST_DOUBLINGS)
        return max(settled, workload.restarted_at + doubled), Restart(workload.in_vain + 1)
    return NotAgain(stale=all(pod.stale for pod in missed))


def due_evictions(
    pods: Iterable[CountedPod], restarted_at: dt.datetime, *, whole: bool
) -> Sequence[CountedPod]:
    """Return which Pods of a restarted ReplicaSet are evicted now: those that serve nobody first.

    `whole` says that all its Pods are ready: then one that is ready can be spared.
    """
    due = sorted(
        (pod for pod in pods if not pod.federated and pod.created < restarted_at),
        key=lambda pod: (pod.created, pod.name),
    )
    unready = [pod for pod in due if not pod.ready]
    return unready[:_UNREADY_AT_ONCE] or due[: int(whole)]


def read_workload(kind: str, body: Json) -> Workload:
    """Read a Deployment, StatefulSet, DaemonSet or ReplicaSet without a controller."""
    own = _annotations(body)
    template = _annotations(mapping_of(mapping_of(body, "spec"), "template"))
    # In both places, since others who write a template whole take our annotation out of it.
    restarts = (parse_time(each.get(words.RESTARTED_AT)) for each in (own, template))
    in_vain = own.get(words.RESTARTS_IN_VAIN)
    name = str(mapping_of(body, "metadata").get("name") or "")
    return Workload(
        kind=kind,
        name=name,
        restarted_at=max((moment for moment in restarts if moment is not None), default=None),
        in_vain=int(in_vain) if isinstance(in_vain, str) and _is_count(in_vain) else 0,
        obstacle=_obstacle(f"{kind} {shown(name, _NAME_SHOWN)}", body),
    )


def render_restart(meta: Json, restart: Restart, now: dt.datetime) -> Json:
    """Return the merge patch that notes a restart on the workload with that metadata.

    It names the resourceVersion, so that what was decided about is what is restarted.
    """
    in_vain = str(restart.in_vain) if restart.in_vain else None
    return {
        "metadata": {
            "name": meta["name"],
            "namespace": meta["namespace"],
            "resourceVersion": meta["resourceVersion"],
            "annotations": {
                words.RESTARTED_AT: render_time(now),
                words.RESTARTS_IN_VAIN: in_vain,
            },
        }
    }


def render_rollout(meta: Json, restart: Restart, now: dt.datetime) -> Json:
    """Return the merge patch that restarts the workload: its Pod template differs then."""
    template = {"metadata": {"annotations": {words.RESTARTED_AT: render_time(now)}}}
    return {**render_restart(meta, restart, now), "spec": {"template": template}}


def is_whole(body: Json) -> bool:
    """Tell whether all Pods that a ReplicaSet wants are ready."""
    wanted, ready = mapping_of(body, "spec").get("replicas"), mapping_of(body, "status")
    return int(ready.get("readyReplicas") or 0) >= int(1 if wanted is None else wanted)


def refused(kind: str, name: str, why: str) -> Workload:
    """Return a workload that the API server does not let us restart."""
    label = f"{kind} {shown(name, _NAME_SHOWN)}"
    return Workload(kind, name, obstacle=f"the operator may not restart {label}: {why}")


def not_restarted(owner: Owner | None) -> Workload:
    """Return the workload of Pods that nothing can roll: Jobs, foreign kinds, nobody."""
    if owner is None:
        return Workload("", "", obstacle="delete and create anew the Pods without a controller")
    kind = cut(owner.kind)
    return Workload(
        kind,
        owner.name,
        obstacle=f"the operator does not restart what a {kind} runs; delete its Pods, or create "
        "it anew",
    )


def told_of(pods: Iterable[CountedPod]) -> str:
    """Say how many of `pods` lack the identity, and why."""
    lacking = [pod for pod in pods if not pod.federated]
    stale = sum(pod.stale for pod in lacking)
    told = ((len(lacking) - stale, "had missed injection"), (stale, "carried another principal"))
    return ", ".join(f"{n} {'Pod' if n == 1 else 'Pods'} {what}" for n, what in told if n)


def next_step(decided: Sequence[tuple[Workload, Decision]]) -> str:
    """Say what becomes of the Pods that missed injection; what a person has to do comes first."""
    ordered = sorted(decided, key=lambda pair: (_urgency(pair[1]), pair[0].kind, pair[0].name))
    clauses = list(dict.fromkeys(_clause(workload, decision) for workload, decision in ordered))
    more = ["…"] if len(clauses) > _CLAUSES else []
    return "; ".join(clauses[:_CLAUSES] + more)


def _urgency(decision: Decision) -> int:
    match decision:
        case CannotRoll():
            return 0
        case NotAgain():
            return 1
        case NotServing():
            return 2
        case Restart() | AlreadyRestarting() | Later():
            return 3


def _clause(workload: Workload, decision: Decision) -> str:
    match decision:
        case CannotRoll(why):
            return cut(why, _WHY_SHOWN)
        case NotAgain(stale):
            found = "carry another principal" if stale else "missed injection"
            return (
                f"{workload.label} was restarted and its new Pods {found} too; find out why, then "
                "restart it"
            )
        case NotServing():
            return (
                "they are restarted once new Pods are injected, see condition "
                f"{ConditionType.INJECTION_SERVING} of the StorageFederation"
            )
        case Restart() | AlreadyRestarting() | Later():
            return f"{workload.label} is being restarted"


def _obstacle(label: str, body: Json) -> str | None:
    """Say what keeps a change of the Pod template from replacing all Pods."""
    spec = mapping_of(body, "spec")
    strategy = mapping_of(spec, "updateStrategy")
    if spec.get("paused") is True:
        return f"{label}: spec.paused holds its rollouts; resume it"
    if strategy.get("type") == "OnDelete":
        return f"{label}: spec.updateStrategy is OnDelete; delete its Pods"
    if mapping_of(strategy, "rollingUpdate").get("partition"):
        return f"{label}: spec.updateStrategy has a partition; delete its Pods"
    return None


def _annotations(body: Json) -> Json:
    return mapping_of(mapping_of(body, "metadata"), "annotations")


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(10**6))
