"""The Pods of a binding: counted, and restarted by what owns them where a binding asks for it."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from aiolimiter import AsyncLimiter

from caios_federation.api.binding import Binding, Remediation
from caios_federation.api.objects import Json, mapping_of
from caios_federation.clients import errors
from caios_federation.clients.kubernetes import (
    DAEMON_SET,
    DEPLOYMENT,
    POD,
    REPLICA_SET,
    STATEFUL_SET,
    Kind,
    KubernetesClient,
)
from caios_federation.core.injection import Sources
from caios_federation.core.plan import Placement
from caios_federation.core.pods import (
    CountedPod,
    Owner,
    PodSurvey,
    Survey,
    controller_of,
    count_pod,
)
from caios_federation.core.restarts import (
    AlreadyRestarting,
    CannotRoll,
    Decision,
    Later,
    Restart,
    Workload,
    decide_restart,
    due_evictions,
    is_whole,
    next_step,
    not_restarted,
    read_workload,
    refused,
    render_restart,
    render_rollout,
    told_of,
)
from caios_federation.core.times import render_time
from caios_federation.reconcile.acting import Acting, log
from caios_federation.settings import RemediationSettings

ROLLOUT_SECONDS: Final = 10.0
"""Between two looks at Pods that are being replaced: whoever waits for them wants to know."""
EVICTION_SECONDS: Final = 10.0
"""Between two evictions of a ReplicaSet's Pods: time for the next Pod to become ready."""
_CONFLICT_SECONDS: Final = 2.0
"""After somebody else wrote first; the controllers write a status every now and then."""
_FAILURE_SECONDS: Final = 15.0
_KINDS: Final = {kind.kind: kind for kind in (DEPLOYMENT, STATEFUL_SET, DAEMON_SET, REPLICA_SET)}


async def survey(
    client: KubernetesClient, sources: Sources, place: Placement, *, page_size: int
) -> Survey:
    """Count the Pods of the ServiceAccount that `sources` are about.

    Raises Retryable: Expired too, after which the queue has them counted from the start. What a
    person must act on, such as a right that is missing, is told in the survey.
    """
    selector = f"spec.serviceAccountName={sources.service_account}"
    listing = client.list_objects(
        POD, namespace=sources.namespace, fields=selector, page_size=page_size
    )
    try:
        counted = [count_pod(raw, sources, place) async for raw in listing]
    except errors.Terminal as error:
        return Survey(problem=f"The Pods cannot be listed; give the operator the right: {error}")
    return Survey(tuple(pod for pod in counted if pod is not None))


class Restarts:
    """How often anything is restarted, all bindings together: one at a time, evenly spread."""

    def __init__(self, settings: RemediationSettings) -> None:
        self.cooldown = dt.timedelta(seconds=settings.cooldown_seconds)
        self.distance_seconds = 60 / settings.restarts_per_minute
        self._limiter = AsyncLimiter(1, self.distance_seconds)

    async def granted(self) -> bool:
        """Take the right to restart something now, if it is there; never waits."""
        if not self._limiter.has_capacity():
            return False
        await self._limiter.acquire()
        return True


@dataclass(frozen=True, slots=True)
class Remedied:
    """What was done about the Pods that missed injection."""

    pods: PodSurvey
    """For the condition and the status."""
    restarted: tuple[str, ...] = ()
    """What was restarted now, one sentence each, for the event."""
    again_after_seconds: float | None = None
    """When there is more to do; None where nothing is due but the usual look."""


@dataclass(slots=True)
class _Group:
    """A workload, and those of its Pods that were found."""

    workload: Workload
    kind: Kind | None = None
    """None where it is not one of those that are restarted."""
    body: Json = field(default_factory=dict)
    """As read."""
    pods: list[CountedPod] = field(default_factory=list)

    @property
    def missed(self) -> int:
        """How many of its Pods missed injection."""
        return sum(not pod.federated for pod in self.pods)


async def remediate(
    acting: Acting,
    restarts: Restarts,
    binding: Binding,
    seen: Survey,
    injecting_since: dt.datetime | None,
) -> Remedied:
    """Restart what owns the Pods that missed injection, where the binding says so.

    `injecting_since` is when new Pods last began to be given the identity; None while they are not,
    and then nothing is restarted. Raises Retryable while owners cannot be read; whatever fails
    after that concerns one owner, and is told or tried again.
    """
    if binding.spec.remediation is Remediation.REPORT or not seen.missed:
        return Remedied(seen.summary())
    groups = await _Owners(acting.client, binding.meta.namespace).of(seen)
    work = _Work(acting, restarts, binding, injecting_since)
    decided = [(group.workload, await work.on(group)) for group in groups]
    return Remedied(
        pods=seen.summary(next_step(decided)),
        restarted=tuple(work.restarted),
        again_after_seconds=min(work.again, default=None),
    )


class _Owners:
    """Who owns Pods in the end; each object is read once."""

    def __init__(self, client: KubernetesClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._found: dict[str, _Group | None] = {}
        """By the uid of an owner."""

    async def of(self, seen: Survey) -> list[_Group]:
        """Return the workloads whose Pods missed injection, each with what it is judged by.

        Pods that carry the identity are evidence only if they are younger than a restart; so most
        ReplicaSets need not be read.
        """
        missed = await self._add(seen.missed)
        restarts = [group.workload.restarted_at for group in missed]
        oldest = min((moment for moment in restarts if moment is not None), default=None)
        if oldest is not None:
            await self._add(pod for pod in seen.pods if pod.federated and pod.created >= oldest)
        return missed

    async def _add(self, pods: Iterable[CountedPod]) -> list[_Group]:
        """Add `pods` to their groups; return those groups, each once."""
        touched: dict[int, _Group] = {}
        for pod in pods:
            group = await self._group(pod.owner)
            if group is not None:
                group.pods.append(pod)
                touched[id(group)] = group
        return list(touched.values())

    async def _group(self, owner: Owner | None) -> _Group | None:
        """Return the group of what an owner belongs to, or None where it is gone or going."""
        key = "" if owner is None else owner.uid
        if key not in self._found:
            self._found[key] = await self._find(owner)
        return self._found[key]

    async def _find(self, owner: Owner | None) -> _Group | None:
        kind = None if owner is None else _KINDS.get(owner.kind)
        if owner is None or kind is None or kind.api_version != owner.api_version:
            return _Group(not_restarted(owner))
        try:
            body = await self._client.read(kind, self._namespace, owner.name)
        except errors.NotFound:
            return None
        except errors.Terminal as error:
            return _Group(refused(owner.kind, owner.name, str(error)))
        meta = mapping_of(body, "metadata")
        if meta.get("uid") != owner.uid or meta.get("deletionTimestamp"):
            return None
        above = controller_of(body) if kind is REPLICA_SET else None
        if above is not None:
            return await self._group(above)
        return _Group(read_workload(owner.kind, body), kind, body)


class _Work:
    """What is done for one binding in one look."""

    def __init__(
        self,
        acting: Acting,
        restarts: Restarts,
        binding: Binding,
        injecting_since: dt.datetime | None,
    ) -> None:
        self._acting = acting
        self._restarts = restarts
        self._binding = binding
        self._injecting_since = injecting_since
        self._now = acting.clock().replace(microsecond=0)
        """Whole seconds, as Pods and annotations have them."""
        self.restarted: list[str] = []
        self.again: list[float] = []
        """Seconds."""

    async def on(self, group: _Group) -> Decision:
        """Decide about a workload and act on it; return what became of it."""
        decision = decide_restart(
            group.workload, group.pods, self._now, self._restarts.cooldown, self._injecting_since
        )
        try:
            match decision:
                case Restart():
                    decision = await self._restart(group, decision)
                case AlreadyRestarting() if group.kind is REPLICA_SET:
                    await self._evict(group, group.workload.restarted_at)
                case _:
                    pass
        except errors.NotFound:
            decision = AlreadyRestarting()  # its Pods go with it
        except errors.WriteConflict:
            decision = Later(_CONFLICT_SECONDS)
        except errors.Retryable as error:
            log.warning(
                "workload not restarted",
                kind=group.workload.kind,
                namespace=self._binding.meta.namespace,
                name=group.workload.name,
                err=str(error),
            )
            decision = Later(_FAILURE_SECONDS)
        except errors.Terminal as error:
            denied = refused(group.workload.kind, group.workload.name, str(error))
            decision = CannotRoll(denied.obstacle or "")
        match decision:
            case Later(seconds):
                self.again.append(seconds)
            case Restart() | AlreadyRestarting():
                self.again.append(ROLLOUT_SECONDS)
            case _:
                pass
        return decision

    async def _restart(self, group: _Group, restart: Restart) -> Decision:
        if group.kind is None:
            raise AssertionError("unreachable: what has no kind has an obstacle")
        if not await self._restarts.granted():
            return Later(self._restarts.distance_seconds)
        meta = group.body["metadata"]
        render = render_restart if group.kind is REPLICA_SET else render_rollout
        patch = render(meta, restart, self._now)
        await self._acting.client.merge(group.kind, patch)
        workload = group.workload
        self.restarted.append(
            f"restarted {workload.label} at {render_time(self._now)}: {told_of(group.pods)}"
        )
        log.info(
            "workload restarted",
            kind=workload.kind,
            namespace=self._binding.meta.namespace,
            name=workload.name,
            binding=self._binding.meta.name,
            missed=group.missed,
        )
        if group.kind is REPLICA_SET:
            await self._evict(group, self._now)
        return restart

    async def _evict(self, group: _Group, restarted_at: dt.datetime | None) -> None:
        """Evict Pods of a ReplicaSet, as many as it can spare. Raises Terminal, Unavailable."""
        if restarted_at is None:
            raise AssertionError("unreachable: it was restarted")
        self.again.append(EVICTION_SECONDS)
        for pod in due_evictions(group.pods, restarted_at, whole=is_whole(group.body)):
            try:
                await self._acting.client.evict(self._binding.meta.namespace, pod.name, uid=pod.uid)
            except errors.RateLimited:
                return  # a PodDisruptionBudget wants it to stay for now
