"""Which keys are to be looked at when something changed: the edges between kinds, in one place."""

from collections.abc import Iterable, Iterator

from caios_federation.api import vocabulary as words
from caios_federation.api.binding import Binding
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
    if change.before == change.now:
        return ()
    versions = [version for version in (change.before, change.now) if version is not None]
    if change.kind is SERVICE_ACCOUNT:
        return _of_account(caches, change.key, plain=all(v is PLAIN for v in versions))
    if change.kind is BINDING:
        return {key for binding in versions for key in _of_binding(caches, binding)}
    if change.kind is FEDERATION:
        return _of_federation(caches, change.key)
    return everything(caches)


def _of_account(caches: Caches, key: str, *, plain: bool) -> Iterator[Key]:
    namespace, _, name = key.partition("/")
    if not plain:
        yield account_key(namespace, name)
    for binding in caches.bindings.naming(namespace, name):
        yield binding_key(binding)


def _of_federation(caches: Caches, name: str) -> Iterator[Key]:
    """Yield the federation `name` and all bindings that name it."""
    yield federation_key(name)
    for binding in caches.bindings.objects.values():
        if binding.spec.federation_name == name:
            yield binding_key(binding)


def _of_binding(caches: Caches, binding: Binding) -> Iterator[Key]:
    account = binding.spec.service_account_name
    yield binding_key(binding)
    yield account_key(binding.meta.namespace, account)
    # Our own binding of that name, should it have stood in the way.
    yield account_key(binding.meta.namespace, binding.meta.name)
    yield federation_key(binding.spec.federation_name)
    for sibling in caches.bindings.naming(binding.meta.namespace, account):
        yield binding_key(sibling)


def binding_key(binding: Binding) -> Key:
    """Return the key of a binding."""
    return Key(BINDING.kind, binding.meta.namespace, binding.meta.name)


def federation_key(name: str) -> Key:
    """Return the key of a federation."""
    return Key(FEDERATION.kind, "", name)


def account_key(namespace: str, name: str) -> Key:
    """Return the key of a ServiceAccount."""
    return Key(SERVICE_ACCOUNT.kind, namespace, name)
