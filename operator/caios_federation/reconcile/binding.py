"""Bindings: gather what is known, let the core judge, act, and write the status when it differs."""

import datetime as dt
from collections.abc import Mapping
from copy import copy
from typing import Any, Final

from caios_federation.api.binding import Binding
from caios_federation.api.conditions import ConditionType, Reason, Status
from caios_federation.api.federation import Verification
from caios_federation.api.objects import mapping_of
from caios_federation.api.vocabulary import BINDING_KIND
from caios_federation.caches import Caches, key_of
from caios_federation.clients import errors
from caios_federation.clients.kubernetes import BINDING
from caios_federation.core.checks import service_account_found
from caios_federation.core.injection import effective_issuer
from caios_federation.core.judgement import Judgement, judge, judge_new_pods
from caios_federation.core.new_pods import NewPods
from caios_federation.core.observed import Acted, ObservedBinding
from caios_federation.core.plan import Placement
from caios_federation.core.pods import PodSurvey, namespaces_left_alone
from caios_federation.core.status import binding_status, leaving_status, same_status
from caios_federation.core.verification import turned
from caios_federation.observe import events
from caios_federation.observe.events import Event
from caios_federation.reconcile.acting import Acting, subject_of
from caios_federation.reconcile.failures import rights_finding
from caios_federation.reconcile.outcome import Outcome
from caios_federation.reconcile.pods import ROLLOUT_SECONDS, Restarts, remediate, survey
from caios_federation.reconcile.policies import Wanted, abandon, keep_policy, let_go
from caios_federation.reconcile.verification import Identity, verify

_SPREADING: Final = 1.25
"""Periods of audits, in which every process asks for the issuer, until all know of another one:
they come up to 1.1 apart, and take a while."""


async def reconcile_binding(
    caches: Caches, acting: Acting, restarts: Restarts, namespace: str, name: str
) -> float | None:
    """Bring a binding and its status up to date; return in how many seconds to look again.

    Raises ClientError: what did not work is in the status by then.
    """
    key = key_of(namespace, name)
    binding = caches.bindings.objects.get(key)
    if binding is None:
        await acting.post(BINDING_KIND, key, frozenset())
        return None
    if binding.meta.deleting:
        return await _leave(caches, acting, binding)
    seen = _gather(caches, binding)
    if binding.ours and seen.holder is not None and seen.holder is not binding:
        return None  # a user's binding took over; reconcile_service_account removes this one
    judged = judge(seen)
    try:
        policy = await _keep_policy(caches, acting, judged)
        credentials = await _verify(acting, judged, policy)
    except errors.NotFound:
        return None  # deleted meanwhile; the watch is about to say so
    new_pods = _new_pods(acting, judged)
    counted, pods = await _look_at_pods(acting, restarts, judged, new_pods)
    verified_at = acting.now() if credentials.changed else binding.status.get("lastVerifiedTime")
    acted = Acted(
        policy=policy.finding,
        credentials=credentials.finding,
        verified_at=verified_at if credentials.finding else None,
        new_pods=new_pods,
        pods=counted,
    )
    outcomes = (policy, credentials, pods)
    told = _events(judged).union(*(outcome.events for outcome in outcomes))
    await acting.post(BINDING_KIND, key, told)
    await _write(caches, acting, binding, binding_status(judged, acted, now=acting.now()))
    return _again(outcomes)


async def _leave(caches: Caches, acting: Acting, binding: Binding) -> float | None:
    wanted = _wanted(judge(_gather(caches, binding)))
    try:
        if wanted is None:
            outcome = await abandon(caches, acting, binding, caches.issuer)
        else:
            outcome = await let_go(caches, acting, wanted)
    except errors.Terminal as error:
        finding = rights_finding(error, Reason.DELETE_FAILED)
        told = events.cleanup_blocked(subject_of(binding), finding.message)
        outcome = Outcome(finding, frozenset({told}), error=error)
    await acting.post(BINDING_KIND, binding.meta.key, outcome.events)
    if outcome.finding is not None:
        status = leaving_status(binding, outcome.finding, now=acting.now())
        await _write(caches, acting, binding, status)
    return _again((outcome,))


def _gather(caches: Caches, binding: Binding) -> ObservedBinding:
    namespace, account_name = binding.meta.namespace, binding.spec.service_account_name
    account = caches.accounts.objects.get(key_of(namespace, account_name))
    labels = caches.namespaces.objects.get(namespace)
    return ObservedBinding(
        binding=binding,
        holder=caches.bindings.holder(namespace, account_name),
        annotations=None if account is None else account.annotations,
        federation=caches.federations.objects.get(binding.spec.federation_name),
        discovered_issuer=caches.issuer,
        namespace_labels=None if labels is None else labels.labels,
    )


def _wanted(judged: Judgement) -> Wanted | None:
    """Return what a binding is to have at CoreWeave; None where nobody can say: no federation."""
    seen = judged.seen
    if seen.federation is None:
        return None
    return Wanted(
        binding=seen.binding,
        federation=seen.federation,
        issuer=effective_issuer(seen.federation, seen.discovered_issuer),
        accepted=judged.accepted,
        policy=judged.policy,
    )


async def _keep_policy(caches: Caches, acting: Acting, judged: Judgement) -> Outcome:
    wanted = _wanted(judged)
    if wanted is None:
        return Outcome()
    try:
        return await keep_policy(caches, acting, wanted)
    except errors.NotFound:
        raise  # the binding is gone
    except errors.Terminal as error:
        finding = rights_finding(error, Reason.SYNC_FAILED)
        told = events.policy_sync_failed(subject_of(wanted.binding), finding.message)
        return Outcome(finding, frozenset({told}), error=error)


async def _verify(acting: Acting, judged: Judgement, policy: Outcome) -> Outcome:
    federation = judged.seen.federation
    if (
        judged.values is None
        or federation is None
        or federation.spec.verification is not Verification.ENABLED
    ):
        return Outcome()
    identity = Identity(
        binding=judged.seen.binding,
        federation=federation,
        values=judged.values,
        facts=judged.facts,
        account_exists=judged.seen.annotations is not None,
        policy=policy,
    )
    return await verify(acting, identity)


def _new_pods(acting: Acting, judged: Judgement) -> NewPods | None:
    settings, now = acting.settings, acting.clock().replace(microsecond=0)
    spreading = dt.timedelta(seconds=round(_SPREADING * settings.caches.audit_period_seconds))
    return judge_new_pods(judged, namespaces_left_alone(settings.namespace), now, spreading)


async def _look_at_pods(
    acting: Acting, restarts: Restarts, judged: Judgement, new_pods: NewPods | None
) -> tuple[PodSurvey | None, Outcome]:
    """Survey the Pods of the binding, and restart those that missed injection if it says so."""
    settings, seen = acting.settings, judged.seen
    if judged.values is None or new_pods is None or not new_pods.injected:
        return None, Outcome()
    place = Placement(**settings.pods.model_dump())
    status = seen.federation.status if seen.federation else {}
    serving = turned(status, ConditionType.INJECTION_SERVING, Status.TRUE)
    injecting = None if serving is None else max(serving, new_pods.since)
    size = settings.caches.page_size
    try:
        found = await survey(acting.client, judged.sources, place, page_size=size)
        remedied = await remediate(acting, restarts, seen.binding, found, injecting)
    except errors.Retryable as error:
        # What was done before is told all the same, and the Pods are looked at again.
        return _uncounted(), Outcome(error=error)
    subject, told = subject_of(seen.binding), set[Event]()
    again = remedied.again_after_seconds
    if remedied.pods.missed:
        told.add(events.pods_missed(subject))
    if remedied.pods.missed or serving is None:  # while nobody injects, more may miss it
        soon = settings.reconcile.missed_seconds
        again = soon if again is None else min(soon, again)
    elif mapping_of(seen.binding.status, "pods").get("missed"):
        # The last of them is gone; the Pod that follows may not have been there yet.
        again = ROLLOUT_SECONDS
    told.update(events.pods_restarted(subject, sentence) for sentence in remedied.restarted)
    return remedied.pods, Outcome(events=frozenset(told), again_after_seconds=again)


def _uncounted() -> PodSurvey:
    return PodSurvey(0, 0, problem="The API server did not list the Pods; they are counted again")


async def _write(
    caches: Caches, acting: Acting, binding: Binding, status: Mapping[str, Any]
) -> None:
    if same_status(status, binding.status):
        return
    meta = binding.meta
    # With the uid, so that a successor of the same name does not get its status.
    metadata = {"namespace": meta.namespace, "name": meta.name, "uid": meta.uid}
    body = {"metadata": metadata, "status": status}
    try:
        answer = await acting.client.apply_status(BINDING, body)
    except errors.NotFound:
        return  # deleted meanwhile; the watch is about to say so
    acting.wrote(caches.bindings.answered(answer))
    acting.tell(BINDING_KIND, meta, status, binding.status)


def _again(outcomes: tuple[Outcome, ...]) -> float | None:
    """Return when the earliest step wants to be taken again; raise with that what went wrong."""
    waits = [o.again_after_seconds for o in outcomes if o.again_after_seconds is not None]
    soonest = min(waits, default=None)
    for outcome in outcomes:
        if outcome.error is not None:
            error = copy(outcome.error)  # others may be told the same one, and want another wait
            error.back_within_seconds = soonest
            raise error from outcome.error
    return soonest


def _events(judged: Judgement) -> frozenset[Event]:
    subject, accepted = subject_of(judged.seen.binding), judged.accepted
    account = service_account_found(judged.seen)
    told = set()
    if accepted.reason is Reason.CONFLICT:
        told.add(events.conflict(subject, accepted.message))
    if accepted.reason is Reason.GRANT_NOT_ALLOWED:
        told.add(events.grant_not_allowed(subject, accepted.message))
    if account.reason is Reason.NOT_FOUND:
        told.add(events.service_account_not_found(subject, account.message))
    return frozenset(told)
