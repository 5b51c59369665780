"""Which keys are looked at when something changed: each edge between kinds."""

from collections.abc import Iterable
from typing import Any

import pytest

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


def own(caches: Caches, cache: ObjectCache[Any], body: builders.Json) -> set[Key]:
    """Return what is to be looked at after the answer to a write of ours."""
    return keys(affected(caches, cache.answered(body), own=True))


def stated(name: str = "reader", *, generation: int = 1, **metadata: Any) -> builders.Json:  # noqa: ANN401  # JSON
    """Return a binding as an answer of the API server has it."""
    body = builders.binding(name)
    body["metadata"] |= {"generation": generation, "resourceVersion": "7", **metadata}
    return {**body, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}


def test_our_own_write_has_its_federation_looked_at_and_not_the_binding_again() -> None:
    caches = Caches()
    bound(caches, "reader")
    assert own(caches, caches.bindings, stated()) == {federation_key()}
    held = stated(finalizers=["caios.coreweave.com/policy"])
    assert own(caches, caches.bindings, held) == {federation_key()}


def test_our_own_status_of_a_federation_bears_on_its_bindings_alone() -> None:
    caches = Caches()
    bound(caches, "reader")
    after(caches, caches.federations, builders.federation())
    body = builders.federation()
    body["metadata"]["resourceVersion"] = "7"
    counted = {**body, "status": {"bindings": {"total": 1, "ready": 0}}}
    assert own(caches, caches.federations, counted) == set()
    body["metadata"]["resourceVersion"] = "8"
    valid = {"conditions": [{"type": "APITokenValid", "status": "True"}]}
    assert own(caches, caches.federations, {**body, "status": valid}) == {binding_key("reader")}
    changed = builders.federation(region="US-EAST-01A")
    changed["metadata"] |= {"resourceVersion": "9", "generation": 2}
    assert federation_key() in own(caches, caches.federations, changed)


def test_somebody_elses_change_that_came_with_the_answer_is_looked_at() -> None:
    for change in (
        {"generation": 2},
        {"deletionTimestamp": "2026-11-24T11:00:00Z"},
        {"labels": OURS},
    ):
        caches = Caches()
        bound(caches, "reader")
        body = stated()
        body["metadata"] |= change
        assert binding_key("reader") in own(caches, caches.bindings, body)


def test_the_answer_to_a_write_of_what_is_gone_bears_on_nothing() -> None:
    caches = Caches()
    assert own(caches, caches.bindings, stated()) == set()
    assert caches.bindings.objects == {}


def namespace(name: str, version: int, **labels: str) -> builders.Json:
    metadata = {"name": name, "labels": labels, "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def test_the_labels_of_a_namespace_bear_on_the_bindings_in_it() -> None:
    caches = Caches()
    after(caches, caches.namespaces, namespace("team-a", 1, team="a"))
    bound(caches, "one")
    bound(caches, "two", grants=[{"name": "g", "buckets": ["b"], "access": "ReadOnly"}])
    after(caches, caches.bindings, builders.binding("elsewhere", "team-b"))
    both = {binding_key("one"), binding_key("two")}
    assert after(caches, caches.namespaces, namespace("team-a", 2, team="b")) == both
    assert after(caches, caches.namespaces, namespace("team-a", 3, team="b")) == set()
    assert after(caches, caches.namespaces, namespace("team-a", 4), "DELETED") == both
    assert after(caches, caches.namespaces, namespace("team-c", 5), "ADDED") == set()


def test_an_old_event_of_a_namespace_does_not_undo_a_newer_one() -> None:
    caches = Caches()
    after(caches, caches.namespaces, namespace("team-a", 9, team="new"))
    assert after(caches, caches.namespaces, namespace("team-a", 8, team="old")) == set()
    assert after(caches, caches.namespaces, namespace("team-a", 8), "DELETED") == set()
    assert caches.namespaces.objects["team-a"].labels == {"team": "new"}


def turned(kind: str, status: str) -> builders.Json:
    condition = {"type": kind, "status": status, "reason": "x", "message": "m"}
    return {**builders.federation(), "status": {"conditions": [condition]}}


@pytest.mark.parametrize("kind", ["APITokenValid", "TrustRegistered", "InjectionServing"])
def test_a_condition_of_a_federation_that_turns_bears_on_its_bindings(kind: str) -> None:
    caches = Caches()
    bound(caches, "one")
    bound(caches, "two", federationName="special")
    after(caches, caches.federations, turned(kind, "False"))
    assert own(caches, caches.federations, turned(kind, "True")) == {binding_key("one")}
    told_otherwise = turned(kind, "True")
    told_otherwise["status"]["conditions"][0]["message"] = "another"
    assert own(caches, caches.federations, told_otherwise) == set()


@pytest.mark.parametrize("kind", ["Ready", "IssuerDiscovered"])
def test_other_conditions_of_a_federation_bear_on_no_binding(kind: str) -> None:
    caches = Caches()
    bound(caches, "one")
    after(caches, caches.federations, turned(kind, "False"))
    assert after(caches, caches.federations, turned(kind, "True")) == {federation_key()}


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
