"""Annotated ServiceAccounts: each gets a binding, unless a user made one."""

import pytest

import builders
from caios_federation.caches import Accounts
from caios_federation.reconcile.service_account import reconcile_service_account
from component.reconcile.world import MANAGED, World, ours, world

BINDINGS = "/apis/caios.coreweave.com/v1alpha1/namespaces/team-a/federatedstoragebindings"
ANNOTATED = builders.service_account(inject="true")
PLAIN = builders.service_account()


async def reconcile(here: World) -> float | None:
    return await reconcile_service_account(here.caches, here.acting, "team-a", "reader")


async def test_an_annotated_service_account_gets_one_binding() -> None:
    async with world(ANNOTATED) as here:
        await reconcile(here)
        assert here.writes == [f"POST {BINDINGS}"]
        body = here.server.seen[0].json
        assert body["spec"] == {"serviceAccountName": "reader", "federationName": "default"}
        assert body["metadata"] == {
            "namespace": "team-a",
            "name": "reader",
            "labels": MANAGED,
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "ServiceAccount",
                    "name": "reader",
                    "uid": "uid-team-a-reader",
                }
            ],
        }
        assert here.caches.bindings.objects == {}, "the watch brings it, not our own write"


async def test_a_users_own_binding_of_the_same_apply_is_waited_for() -> None:
    now = 100.0
    async with world() as here:
        here.caches.accounts = Accounts(clock=lambda: now)
        here.know(ANNOTATED, event="ADDED")
        assert await reconcile(here) == 2.0
        assert here.writes == []
        now += 2.0
        assert await reconcile(here) is None
        assert here.writes == [f"POST {BINDINGS}"]


@pytest.mark.parametrize("inputs", [{}, {"inject": "false"}, {"token_expiration": "900"}])
async def test_one_that_does_not_ask_for_it_gets_none(inputs: dict[str, str]) -> None:
    async with world(builders.service_account(**inputs)) as here:
        await reconcile(here)
        assert here.server.seen == []


async def test_the_binding_goes_when_the_annotation_goes() -> None:
    async with world(PLAIN, ours()) as here:
        await reconcile(here)
        assert here.writes == [f"DELETE {BINDINGS}/reader"]
        assert here.server.seen[0].json == {"preconditions": {"uid": "uid-team-a-reader"}}


async def test_the_binding_goes_when_the_service_account_goes() -> None:
    async with world(ours()) as here:
        await reconcile(here)
        assert here.writes == [f"DELETE {BINDINGS}/reader"]


async def test_the_binding_goes_when_a_users_own_names_the_service_account() -> None:
    theirs = builders.binding("mine", serviceAccountName="reader")
    async with world(ANNOTATED, ours(), theirs) as here:
        await reconcile(here)
        assert here.writes == [f"DELETE {BINDINGS}/reader"]


async def test_no_binding_is_made_beside_a_users_own() -> None:
    async with world(ANNOTATED, builders.binding("mine", serviceAccountName="reader")) as here:
        await reconcile(here)
        assert here.server.seen == []


@pytest.mark.parametrize("theirs", [{"audience": 5}, {"deletionTimestamp": "2026-11-24T11:00:00Z"}])
async def test_a_users_binding_that_claims_nothing_does_not_count(
    theirs: dict[str, object],
) -> None:
    body = builders.binding("mine", serviceAccountName="reader")
    if "audience" in theirs:
        body["spec"] |= theirs
    else:
        body["metadata"] |= theirs
    async with world(ANNOTATED, body) as here:
        await reconcile(here)
        assert here.writes == [f"POST {BINDINGS}"]


async def test_a_binding_that_a_user_took_over_is_left_alone() -> None:
    taken = ours()
    taken["metadata"]["managedFields"] = [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}]
    async with world(PLAIN, taken) as here:
        await reconcile(here)
        assert here.server.seen == []


async def test_a_name_that_is_taken_is_an_event_and_nothing_is_overwritten() -> None:
    other = builders.binding("reader", serviceAccountName="somebody-else")
    async with world(ANNOTATED, other) as here:
        for _ in range(2):
            await reconcile(here)
        assert here.events == ["NameTaken"]
        assert here.writes == []


async def test_another_federation_makes_another_binding() -> None:
    elsewhere = builders.service_account(inject="true", federation="special")
    async with world(elsewhere, ours()) as here:
        await reconcile(here)
        here.forget(ours())
        await reconcile(here)
        assert here.writes == [f"DELETE {BINDINGS}/reader", f"POST {BINDINGS}"]
        assert here.server.seen[-1].json["spec"]["federationName"] == "special"


async def test_a_name_taken_meanwhile_is_left_to_the_watch() -> None:
    async with world(ANNOTATED) as here:
        here.api.refusals = {f"POST {BINDINGS}": 409}
        await reconcile(here)
        assert here.writes == [f"POST {BINDINGS}"]


async def test_a_bad_annotation_is_an_event_once_and_again_after_it_was_gone() -> None:
    bad = builders.service_account(inject="yes")
    async with world(bad) as here:
        for _ in range(2):
            await reconcile(here)
        assert here.events == ["AnnotationInvalid"]
        here.know(PLAIN)
        await reconcile(here)
        here.know(bad)
        await reconcile(here)
        assert here.events == ["AnnotationInvalid"] * 2


async def test_service_accounts_that_are_gone_leave_nothing_in_memory() -> None:
    bad = builders.service_account(inject="yes")
    async with world(bad) as here:
        await reconcile(here)
        here.forget(bad)
        await reconcile(here)
        assert here.acting.episodes._posted == {}


NO_NAME = builders.service_account(inject="true", federation="My Fed")


async def test_a_federation_that_is_no_name_is_an_event_and_nothing_is_created() -> None:
    async with world(NO_NAME) as here:
        for _ in range(2):
            await reconcile(here)
        assert here.writes == []
        assert here.events == ["AnnotationInvalid"]
        assert "'My Fed'" in here.server.seen[0].json["message"]


async def test_a_federation_that_is_no_name_any_more_keeps_the_binding() -> None:
    async with world(NO_NAME, ours(federationName="special")) as here:
        await reconcile(here)
        assert here.writes == []
        assert here.events == ["AnnotationInvalid"]


async def test_a_binding_goes_with_the_wish_whatever_the_federation_is() -> None:
    async with world(builders.service_account(federation="My Fed"), ours()) as here:
        await reconcile(here)
        assert here.writes == [f"DELETE {BINDINGS}/reader"]


async def test_an_event_that_could_not_be_posted_is_posted_at_the_next_look() -> None:
    async with world(builders.service_account(inject="yes")) as here:
        here.api.refusals = {"POST /events": 503}
        await reconcile(here)
        here.api.refusals = {}
        for _ in range(2):
            await reconcile(here)
        assert here.events == ["AnnotationInvalid"] * 2
        assert [line["event"] for line in here.lines] == ["event not posted"]


async def test_an_event_that_is_there_already_is_done() -> None:
    async with world(builders.service_account(inject="yes")) as here:
        here.api.refusals = {"POST /events": 409}
        for _ in range(2):
            await reconcile(here)
        assert here.events == ["AnnotationInvalid"]
        assert here.lines == []


async def test_a_controller_that_starts_posts_by_the_names_of_the_one_before() -> None:
    names = []
    for _ in range(2):
        async with world(builders.service_account(inject="yes")) as here:
            await reconcile(here)
            names.append(here.server.seen[0].json["metadata"]["name"])
    assert names[0] == names[1]
    assert names[0].startswith("reader.")
