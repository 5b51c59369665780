"""Bindings: gather what is known, let the core judge, write the status when it differs."""

from caios_federation.api.binding import Binding
from caios_federation.api.conditions import ConditionType, Reason
from caios_federation.api.vocabulary import API_VERSION, BINDING_KIND
from caios_federation.caches import Caches, key_of
from caios_federation.clients import errors
from caios_federation.clients.kubernetes import BINDING
from caios_federation.core.checks import judge_binding
from caios_federation.core.observed import ObservedBinding
from caios_federation.core.status import binding_status, same_status
from caios_federation.observe.events import Event, Subject, conflict, service_account_not_found
from caios_federation.reconcile.acting import Acting


async def reconcile_binding(caches: Caches, acting: Acting, namespace: str, name: str) -> None:
    """Bring the status of a binding up to date. Raises ClientError."""
    key = key_of(namespace, name)
    binding = caches.bindings.objects.get(key)
    if binding is None or binding.meta.deleting:
        await acting.post(BINDING_KIND, key, frozenset())
        return
    seen = _gather(caches, binding)
    if binding.ours and seen.holder is not None and seen.holder is not binding:
        return  # a user's binding took over; reconcile_service_account removes this one
    status = binding_status(seen, now=acting.now())
    await acting.post(BINDING_KIND, key, _events(seen))
    if same_status(status, binding.status):
        return
    try:
        body = await acting.client.apply_status(
            BINDING, {"metadata": {"namespace": namespace, "name": name}, "status": status}
        )
    except errors.NotFound:
        return  # deleted meanwhile; the watch is about to say so
    acting.wrote(caches.bindings.answered(body))
    acting.tell(BINDING_KIND, binding.meta, status)


def _gather(caches: Caches, binding: Binding) -> ObservedBinding:
    namespace, account_name = binding.meta.namespace, binding.spec.service_account_name
    account = caches.accounts.objects.get(key_of(namespace, account_name))
    return ObservedBinding(
        binding=binding,
        holder=caches.bindings.holder(namespace, account_name),
        annotations=None if account is None else account.annotations,
        federation=caches.federations.objects.get(binding.spec.federation_name),
        discovered_issuer=caches.issuer,
    )


def _events(seen: ObservedBinding) -> frozenset[Event]:
    meta = seen.binding.meta
    subject = Subject(API_VERSION, BINDING_KIND, meta.namespace, meta.name, meta.uid)
    findings = judge_binding(seen)
    accepted = findings[ConditionType.ACCEPTED]
    account = findings[ConditionType.SERVICE_ACCOUNT_FOUND]
    events = set()
    if accepted.reason is Reason.CONFLICT:
        events.add(conflict(subject, accepted.message))
    if account.reason is Reason.NOT_FOUND:
        events.add(service_account_not_found(subject, account.message))
    return frozenset(events)
