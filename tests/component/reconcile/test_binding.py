"""Bindings: their status is written when it differs, their warnings posted once an episode."""

import pytest

import builders
from caios_federation.clients import errors
from caios_federation.reconcile.pods import ROLLOUT_SECONDS
from component.reconcile.world import World, ours, world

STATUS = (
    "PATCH /apis/caios.coreweave.com/v1alpha1/namespaces/team-a"
    "/federatedstoragebindings/reader/status"
)
ACCOUNT = builders.service_account()
BINDING = builders.binding()
SERVING = {
    **builders.federation(),
    "status": {
        "conditions": [
            {
                "type": "InjectionServing",
                "status": "True",
                "lastTransitionTime": "2026-11-24T11:00:00Z",
            }
        ]
    },
}


async def reconcile(here: World, name: str = "reader") -> None:
    await here.reconcile(name)


def reasons(here: World, name: str = "reader") -> dict[str, str]:
    status = here.caches.bindings.objects[f"team-a/{name}"].status
    return {condition["type"]: condition["reason"] for condition in status["conditions"]}


async def test_a_status_is_written_once() -> None:
    async with world(ACCOUNT, BINDING) as here:
        await reconcile(here)
        await reconcile(here)
        assert here.writes == [STATUS]
        assert reasons(here) == {
            "Accepted": "Accepted",
            "ServiceAccountFound": "Found",
            "PodsFederated": "NoPods",
            "Ready": "Ready",
        }


async def test_a_write_is_told_and_known_at_once() -> None:
    async with world(ACCOUNT, BINDING) as here:
        await reconcile(here)
        (change,) = here.changes
        assert (change.key, change.before.status) == ("team-a/reader", {})
        assert change.now is here.caches.bindings.objects["team-a/reader"]
        assert [line["event"] for line in here.lines] == ["status changed"]


async def test_only_the_status_is_written_and_never_that_of_a_successor() -> None:
    async with world(ACCOUNT, BINDING) as here:
        await reconcile(here)
        (body,) = (request.json for request in here.server.seen if request.method == "PATCH")
        uid = BINDING["metadata"]["uid"]
        assert body["metadata"] == {"namespace": "team-a", "name": "reader", "uid": uid}
        assert set(body) == {"apiVersion", "kind", "metadata", "status"}


async def test_a_binding_that_is_gone_or_going_is_left_alone() -> None:
    going = builders.binding("going")
    going["metadata"]["deletionTimestamp"] = "2026-11-24T11:00:00Z"
    async with world(going) as here:
        await reconcile(here)
        await reconcile(here, "going")
        assert here.server.seen == []


async def test_a_binding_deleted_meanwhile_is_no_failure() -> None:
    async with world(ACCOUNT, BINDING) as here:
        here.api.refusals = {"PATCH /status": 404}
        await reconcile(here)
        assert here.changes == []


@pytest.mark.parametrize(
    ("status", "error"), [(409, errors.WriteConflict), (403, errors.PermissionDenied)]
)
async def test_a_status_that_cannot_be_written_is_tried_again(
    status: int, error: type[errors.ClientError]
) -> None:
    async with world(ACCOUNT, BINDING) as here:
        here.api.refusals = {"PATCH /status": status}
        with pytest.raises(error):
            await reconcile(here)
        here.api.refusals = {}
        await reconcile(here)
        assert reasons(here)["Ready"] == "Ready"


async def test_a_missing_service_account_is_an_event_once_and_again_after_it_was_there() -> None:
    async with world(BINDING) as here:
        for _ in range(3):
            await reconcile(here)
        assert here.events == ["ServiceAccountNotFound"]
        here.know(ACCOUNT)
        await reconcile(here)
        here.forget(ACCOUNT)
        await reconcile(here)
        assert here.events == ["ServiceAccountNotFound"] * 2


async def test_a_conflict_is_an_event_for_the_one_that_lost() -> None:
    elder = builders.binding("elder", serviceAccountName="reader")
    elder["metadata"]["creationTimestamp"] = "2026-11-24T09:00:00Z"
    async with world(ACCOUNT, BINDING, elder) as here:
        await reconcile(here)
        await reconcile(here, "elder")
        assert here.events == ["Conflict"]
        assert here.server.seen[0].json["involvedObject"]["name"] == "reader"


async def test_our_own_binding_is_in_no_conflict_with_the_users_that_took_over() -> None:
    theirs = builders.binding("mine", serviceAccountName="reader")
    async with world(ACCOUNT, ours(), theirs) as here:
        await reconcile(here)
        assert here.server.seen == []


async def test_our_own_binding_that_nobody_can_hold_says_why() -> None:
    async with world(ACCOUNT, ours(audience=5)) as here:
        await reconcile(here)
        assert reasons(here)["Ready"] == "InvalidSpec"


async def test_an_event_that_cannot_be_posted_keeps_no_status_from_being_written() -> None:
    async with world(BINDING) as here:
        here.api.refusals = {"POST /events": 403}
        await reconcile(here)
        assert here.writes == [STATUS]
        assert "event not posted" in [line["event"] for line in here.lines]


async def test_a_binding_made_anew_with_the_old_trouble_is_an_event_anew() -> None:
    async with world(BINDING) as here:
        await reconcile(here)
        here.forget(BINDING)
        await reconcile(here)
        anew = builders.binding()
        anew["metadata"]["uid"] = "another"
        here.know(anew)
        await reconcile(here)
        assert here.events == ["ServiceAccountNotFound"] * 2


async def test_bindings_that_are_gone_leave_nothing_in_memory() -> None:
    async with world() as here:
        for number in range(20):
            body = builders.binding(f"b{number}")
            here.know(body)
            await reconcile(here, f"b{number}")
            here.forget(body)
            await reconcile(here, f"b{number}")
        assert here.acting.episodes._posted == {}


async def test_pods_are_counted_once_more_when_the_last_that_missed_is_gone() -> None:
    """Its successor may not have been there yet, and no event tells of it."""
    async with world(ACCOUNT, BINDING, SERVING) as here:
        here.api.pods = [builders.pod(serviceAccountName="reader")]
        assert await here.reconcile() == here.acting.settings.reconcile.missed_seconds
        here.api.pods = []
        assert await here.reconcile() == ROLLOUT_SECONDS
        assert await here.reconcile() is None


async def test_pods_are_looked_at_again_soon_while_nobody_injects() -> None:
    """Those that are created meanwhile miss it, and no event tells of them."""
    async with world(ACCOUNT, BINDING) as here:
        soon = here.acting.settings.reconcile.missed_seconds
        assert await here.reconcile() == soon
        here.know(SERVING)
        assert await here.reconcile() is None
