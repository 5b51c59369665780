"""Which keys are to be looked at when something changed: the edges between kinds, in one place."""

from collections.abc import Iterable, Iterator
from typing import Final

from caios_federation.api import vocabulary as words
from caios_federation.api.binding import Binding
from caios_federation.api.conditions import ConditionType
from caios_federation.api.federation import Federation
from caios_federation.api.objects import Meta
from caios_federation.caches import PLAIN, Caches, Change
from caios_federation.clients.kubernetes import BINDING, FEDERATION, NAMESPACE, SERVICE_ACCOUNT
from caios_federation.reconcile.queue import Key

_BEARING: Final = (
    ConditionType.API_TOKEN_VALID,
    ConditionType.TRUST_REGISTERED,
    ConditionType.INJECTION_SERVING,
)
"""When one of them turns, what failed for a binding may work at last."""
WEBHOOK_KEY = Key("MutatingWebhookConfiguration", "", words.WEBHOOK_CONFIGURATION)


def everything(caches: Caches) -> Iterator[Key]:
    """Yield a key for all that is reconciled; un-annotated ServiceAccounts cost nothing."""
    yield WEBHOOK_KEY
    for federation in caches.federations.objects.values():
        yield federation_key(federation.meta.name)
    for binding in caches.bindings.objects.values():
        yield binding_key(binding)
    for key, account in caches.accounts.objects.items():
        if account is not PLAIN:
            namespace, _, name = key.partition("/")
            yield account_key(namespace, name)


def affected(caches: Caches, change: Change, *, own: bool = False) -> Iterable[Key]:
    """Return the keys that `change` has a bearing on.

    An `own` write changes what was just reconciled: that need not be looked at again, unless
    somebody else's change came with the answer.
    """
    before, now = change.before, change.now
    if before == now:
        return ()
    if change.kind is SERVICE_ACCOUNT:
        return _of_account(
            caches, change.key, plain=all(version in (None, PLAIN) for version in (before, now))
        )
    if change.kind is BINDING:
        keys = set(_of_binding(caches, before, now))
        return keys - {binding_key(now)} if own and now and _same_wish(before, now) else keys
    if change.kind is FEDERATION:
        keys = set(_of_federation(caches, change.key, judged=_judged(before) != _judged(now)))
        same = before and now and _same_meta(before.meta, now.meta)
        return keys - {federation_key(change.key)} if own and same else keys
    if change.kind is NAMESPACE:
        return _of_namespace(caches, change.key)
    return everything(caches)


def _of_account(caches: Caches, key: str, *, plain: bool) -> Iterator[Key]:
    namespace, _, name = key.partition("/")
    if not plain:
        yield account_key(namespace, name)
    for binding in caches.bindings.naming(namespace, name):
        yield binding_key(binding)


def _of_federation(caches: Caches, name: str, *, judged: bool) -> Iterator[Key]:
    """Yield the federation `name` and, if its `judged` part changed, all bindings that name it."""
    yield federation_key(name)
    for binding in caches.bindings.objects.values() if judged else ():
        if binding.spec.federation_name == name:
            yield binding_key(binding)


def _of_namespace(caches: Caches, name: str) -> Iterator[Key]:
    """Yield the bindings in the namespace `name`: grant rules and the webhook select by labels."""
    for binding in caches.bindings.objects.values():
        if binding.meta.namespace == name:
            yield binding_key(binding)


def _of_binding(caches: Caches, before: Binding | None, now: Binding | None) -> Iterator[Key]:
    for binding in (before, now):
        if binding is not None:
            yield binding_key(binding)
            yield federation_key(binding.spec.federation_name)
    if before is not None and now is not None and _claim(before) == _claim(now):
        return  # whoever has the ServiceAccount still has it
    for binding in (before, now):
        if binding is None:
            continue
        namespace, account = binding.meta.namespace, binding.spec.service_account_name
        yield account_key(namespace, account)
        # Our own binding of that name, should it have stood in the way.
        yield account_key(namespace, binding.meta.name)
        holder = caches.bindings.holder(namespace, account)
        if holder is None or binding.rank <= holder.rank:
            # It has the ServiceAccount now, or had it: the others are judged by that.
            yield from map(binding_key, caches.bindings.naming(namespace, account))


def _same_wish(before: Binding | None, now: Binding) -> bool:
    """Tell whether at most status and finalizers differ."""
    return before is not None and before.ours == now.ours and _same_meta(before.meta, now.meta)


def _same_meta(before: Meta, now: Meta) -> bool:
    return (before.uid, before.generation, before.deleting) == (
        now.uid,
        now.generation,
        now.deleting,
    )


def _claim(binding: Binding) -> object:
    return binding.spec.service_account_name, binding.rank


def _judged(federation: Federation | None) -> object:
    """Return the part of a federation that its bindings are judged by."""
    if federation is None:
        return None
    conditions = federation.status.get("conditions") or ()
    turns = {entry.get("type"): entry.get("status") for entry in conditions}
    return federation.spec, {kind: turns.get(kind) for kind in _BEARING}


def binding_key(binding: Binding) -> Key:
    """Return the key of a binding."""
    return Key(BINDING.kind, binding.meta.namespace, binding.meta.name)


def federation_key(name: str) -> Key:
    """Return the key of a federation."""
    return Key(FEDERATION.kind, "", name)


def account_key(namespace: str, name: str) -> Key:
    """Return the key of a ServiceAccount."""
    return Key(SERVICE_ACCOUNT.kind, namespace, name)
