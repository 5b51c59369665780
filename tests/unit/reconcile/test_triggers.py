"""Which keys are looked at when something changed: each edge between kinds."""

from collections.abc import Iterable
from typing import Any

import builders
from caios_federation.caches import Caches, Change, ObjectCache
from caios_federation.reconcile.queue import Key
from caios_federation.reconcile.triggers import WEBHOOK_KEY, affected, everything

OURS = {"app.kubernetes.io/managed-by": "caios-federation"}


def binding_key(name: str) -> Key:
    return Key("FederatedStorageBinding", "team-a", name)


def account_key(name: str) -> Key:
    return Key("ServiceAccount", "team-a", name)


def federation_key(name: str = "default") -> Key:
    return Key("StorageFederation", "", name)


def after(
    caches: Caches, cache: ObjectCache[Any], body: builders.Json, event: str = "MODIFIED"
) -> set[Key]:
    """Return what is to be looked at after a watch event."""
    return keys(affected(caches, cache.observe(event, body)))


def keys(found: Iterable[Key]) -> set[Key]:
    return set(found)


def account(caches: Caches, name: str, event: str = "MODIFIED", **inputs: str) -> set[Key]:
    return after(caches, caches.accounts, builders.service_account(name, **inputs), event)


def bound(caches: Caches, name: str, event: str = "MODIFIED", **spec: Any) -> set[Key]:  # noqa: ANN401  # a spec
    return after(caches, caches.bindings, builders.binding(name, **spec), event)


def test_a_service_account_that_asks_for_nothing_bears_on_nothing() -> None:
    caches = Caches()
    assert account(caches, "reader", "ADDED") == set()
    assert account(caches, "reader", "DELETED") == set()


def test_an_annotation_that_comes_or_goes_bears_on_the_service_account() -> None:
    caches = Caches()
    account(caches, "reader")
    assert account(caches, "reader", inject="true") == {account_key("reader")}
    assert account(caches, "reader", inject="false") == {account_key("reader")}
    assert account(caches, "reader") == {account_key("reader")}


def test_an_annotated_service_account_that_goes_is_looked_at() -> None:
    caches = Caches()
    account(caches, "reader", inject="true")
    assert account(caches, "reader", "DELETED", inject="true") == {account_key("reader")}


def test_a_service_account_bears_on_all_bindings_that_name_it() -> None:
    caches = Caches()
    bound(caches, "one", serviceAccountName="reader")
    bound(caches, "two", serviceAccountName="reader")
    bound(caches, "elsewhere", serviceAccountName="other")
    both = {binding_key("one"), binding_key("two")}
    assert account(caches, "reader", "ADDED") == both
    assert account(caches, "reader", inject="true") == both | {account_key("reader")}
    assert account(caches, "reader", "DELETED") == both | {account_key("reader")}


def test_what_does_not_change_bears_on_nothing() -> None:
    caches = Caches()
    for again in (False, True):
        seen = (
            account(caches, "reader", inject="true")
            | bound(caches, "reader")
            | after(caches, caches.federations, builders.federation())
        )
        assert (seen == set()) == again


def test_a_binding_bears_on_its_account_its_namesake_and_its_federation() -> None:
    caches = Caches()
    expected = {
        binding_key("one"),
        account_key("reader"),
        account_key("one"),
        federation_key("special"),
    }
    spec = {"serviceAccountName": "reader", "federationName": "special"}
    assert bound(caches, "one", "ADDED", **spec) == expected
    assert bound(caches, "one", "DELETED", **spec) == expected


def test_the_binding_that_has_a_service_account_bears_on_its_siblings() -> None:
    caches = Caches()
    bound(caches, "two", serviceAccountName="reader")
    assert binding_key("two") in bound(caches, "one", "ADDED", serviceAccountName="reader")
    assert binding_key("two") in bound(caches, "one", "DELETED", serviceAccountName="reader")


def test_a_binding_that_does_not_have_the_service_account_bears_on_no_sibling() -> None:
    caches = Caches()
    bound(caches, "one", serviceAccountName="reader")
    assert binding_key("one") not in bound(caches, "two", "ADDED", serviceAccountName="reader")
    assert binding_key("one") not in bound(caches, "two", "DELETED", serviceAccountName="reader")


def test_a_spec_that_changes_bears_on_no_sibling() -> None:
    caches = Caches()
    bound(caches, "one", serviceAccountName="reader")
    bound(caches, "two", serviceAccountName="reader")
    changed = bound(caches, "one", serviceAccountName="reader", audience="other")
    assert changed == {binding_key("one"), federation_key()}


def test_a_binding_that_moves_bears_on_both_places() -> None:
    """Fields are immutable; a binding deleted and made anew in a gap of the watch is not."""
    caches = Caches()
    bound(caches, "first", serviceAccountName="before", federationName="f1")
    bound(caches, "left", serviceAccountName="before")
    bound(caches, "joined", serviceAccountName="after")
    moved = bound(caches, "first", serviceAccountName="after", federationName="f2")
    assert moved >= {
        account_key("before"),
        account_key("after"),
        binding_key("left"),
        binding_key("joined"),
        federation_key("f1"),
        federation_key("f2"),
    }


def test_the_status_of_a_federation_bears_on_itself_alone() -> None:
    caches = Caches()
    bound(caches, "one")
    after(caches, caches.federations, builders.federation())
    body = {**builders.federation(), "status": {"bindings": {"total": 1, "ready": 0}}}
    assert after(caches, caches.federations, body) == {federation_key()}


def test_a_status_that_changes_bears_on_the_federation_that_counts_it() -> None:
    caches = Caches()
    bound(caches, "reader")
    body = builders.binding("reader")
    body["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}
    assert federation_key() in after(caches, caches.bindings, body)


def test_a_federation_bears_on_itself_and_the_bindings_that_name_it() -> None:
    caches = Caches()
    bound(caches, "one", federationName="special")
    bound(caches, "two")
    expected = {federation_key("special"), binding_key("one")}
    body = builders.federation("special")
    assert after(caches, caches.federations, body, "ADDED") == expected
    assert after(caches, caches.federations, body, "DELETED") == expected


def test_the_issuer_bears_on_everything() -> None:
    caches = Caches()
    account(caches, "reader", inject="true")
    account(caches, "plain")
    bound(caches, "one")
    after(caches, caches.federations, builders.federation())
    expected = {WEBHOOK_KEY, federation_key(), binding_key("one"), account_key("reader")}
    assert keys(everything(caches)) == expected
    assert keys(affected(caches, Change(None, "", None, builders.ISSUER))) == expected


def test_everything_is_at_least_the_webhook_configuration() -> None:
    assert keys(everything(Caches())) == {WEBHOOK_KEY}
