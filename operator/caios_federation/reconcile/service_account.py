"""Annotated ServiceAccounts: each gets a binding, so that `kubectl get fsb -A` is the inventory."""

from typing import Final

from caios_federation.api import vocabulary as words
from caios_federation.api.binding import Binding
from caios_federation.api.objects import Json
from caios_federation.caches import PLAIN, Account, Caches, key_of
from caios_federation.clients import errors
from caios_federation.clients.kubernetes import BINDING, SERVICE_ACCOUNT
from caios_federation.core.account import Wish, federation_problem, wish_of
from caios_federation.core.injection import annotation_problems, federation_name
from caios_federation.observe.events import Event, Subject, annotation_invalid, name_taken
from caios_federation.reconcile.acting import Acting, log

_APPLY_SECONDS: Final = 2.0
"""How long a user's own binding is waited for. It may come with the ServiceAccount, and kubectl,
which had found none, would fail to create it beside one that we made meanwhile."""


async def reconcile_service_account(
    caches: Caches, acting: Acting, namespace: str, name: str
) -> float | None:
    """Create, keep or delete the binding of a ServiceAccount; return when to look again, if at all.

    While its federation annotation is no name, there is nothing to create, and what an earlier
    annotation made is kept: nobody asked for its end. Raises ClientError.
    """
    key = key_of(namespace, name)
    account = caches.accounts.objects.get(key, PLAIN)
    same_name = caches.bindings.objects.get(key)
    wanted = wish_of(account.annotations) is Wish.INJECTION and not _bound_by_user(
        caches, namespace, name
    )
    taken = wanted and same_name is not None and same_name.spec.service_account_name != name
    events = _events(caches, namespace, name, account, taken=taken)
    await acting.post(SERVICE_ACCOUNT.kind, key, events)
    if same_name is None:
        if wanted and federation_problem(account.annotations) is None:
            if caches.accounts.young(key, _APPLY_SECONDS):
                return _APPLY_SECONDS
            await _create(acting, namespace, name, account)
    elif same_name.ours and not (wanted and _fits(same_name, account)):
        await _delete(acting, same_name)
    return None


def _bound_by_user(caches: Caches, namespace: str, name: str) -> bool:
    holder = caches.bindings.holder(namespace, name)
    return holder is not None and not holder.ours


def _fits(binding: Binding, account: Account) -> bool:
    """Tell whether our binding says what the annotations say; its fields cannot be changed."""
    named = federation_name(account.annotations, None)
    return federation_problem(account.annotations) is not None or (
        binding.spec.federation_name == named
    )


def render_binding(namespace: str, name: str, account: Account) -> Json:
    """Return the binding of an annotated ServiceAccount."""
    return {
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": {words.MANAGED_BY: words.MANAGER},
            "ownerReferences": [
                {
                    "apiVersion": SERVICE_ACCOUNT.api_version,
                    "kind": SERVICE_ACCOUNT.kind,
                    "name": name,
                    "uid": account.uid,
                }
            ],
        },
        "spec": {
            "serviceAccountName": name,
            "federationName": federation_name(account.annotations, None),
        },
    }


async def _create(acting: Acting, namespace: str, name: str, account: Account) -> None:
    """Create, rather than apply: a user's binding of that name must not be taken over."""
    try:
        await acting.client.create(BINDING, render_binding(namespace, name, account))
    except errors.WriteConflict:
        return  # it is there already; the watch is about to show it
    log.info("binding created", kind=words.BINDING_KIND, namespace=namespace, name=name)


async def _delete(acting: Acting, binding: Binding) -> None:
    meta = binding.meta
    await acting.client.delete(BINDING, meta.namespace, meta.name, uid=meta.uid)
    log.info("binding deleted", kind=words.BINDING_KIND, namespace=meta.namespace, name=meta.name)


def _events(
    caches: Caches, namespace: str, name: str, account: Account, *, taken: bool
) -> frozenset[Event]:
    subject = Subject(
        SERVICE_ACCOUNT.api_version, SERVICE_ACCOUNT.kind, namespace, name, account.uid
    )
    problems = annotation_problems(caches.sources(namespace, name, account))
    events = {annotation_invalid(subject, problem) for problem in problems}
    return frozenset(events | {name_taken(subject)} if taken else events)
