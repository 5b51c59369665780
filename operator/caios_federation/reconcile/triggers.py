"""Which keys are to be looked at when something changed: the edges between kinds, in one place."""

from collections.abc import Iterable, Iterator

from caios_federation.api import vocabulary as words
from caios_federation.api.binding import Binding
from caios_federation.api.federation import Federation, FederationSpec
from caios_federation.caches import PLAIN, Caches, Change
from caios_federation.clients.kubernetes import BINDING, FEDERATION, SERVICE_ACCOUNT
from caios_federation.reconcile.queue import Key

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


def affected(caches: Caches, change: Change) -> Iterable[Key]:
    """Return the keys that `change` has a bearing on."""
    before, now = change.before, change.now
    if before == now:
        return ()
    if change.kind is SERVICE_ACCOUNT:
        return _of_account(
            caches, change.key, plain=all(version in (None, PLAIN) for version in (before, now))
        )
    if change.kind is BINDING:
        return set(_of_binding(caches, before, now))
    if change.kind is FEDERATION:
        return _of_federation(caches, change.key, judged=_spec(before) != _spec(now))
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


def _claim(binding: Binding) -> object:
    return binding.spec.service_account_name, binding.rank


def _spec(federation: Federation | None) -> FederationSpec | None:
    return None if federation is None else federation.spec


def binding_key(binding: Binding) -> Key:
    """Return the key of a binding."""
    return Key(BINDING.kind, binding.meta.namespace, binding.meta.name)


def federation_key(name: str) -> Key:
    """Return the key of a federation."""
    return Key(FEDERATION.kind, "", name)


def account_key(namespace: str, name: str) -> Key:
    """Return the key of a ServiceAccount."""
    return Key(SERVICE_ACCOUNT.kind, namespace, name)
