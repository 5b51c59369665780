"""Policies that CoreWeave does not take: what is told, what is sent, and when again."""

import pytest

import builders
from caios_federation.clients import errors
from caios_federation.reconcile.organizations import TokenMissing
from component.reconcile.managed import (
    GRANT,
    granted,
    managed,
    raw_secret,
    secret,
)


async def test_a_binding_without_grants_is_neither_held_nor_listed_for() -> None:
    async with managed(builders.binding(), verification="Disabled") as here:
        await here.look()
        assert here.steps() == ["pods", "status"]


@pytest.mark.parametrize(
    ("status", "reason", "events"),
    [
        (401, "PermissionDenied", ["PolicySyncFailed"]),
        (403, "PermissionDenied", ["PolicySyncFailed"]),
        (400, "Rejected", ["PolicySyncFailed"]),
        (429, "RateLimited", ["PolicySyncFailed"]),
        (404, "SyncFailed", ["PolicySyncFailed"]),
        (500, "APIUnavailable", []),
    ],
)
@pytest.mark.parametrize("step", ["list", "ensure"])
async def test_an_apply_that_is_refused_says_why_once(
    step: str, status: int, reason: str, events: list[str]
) -> None:
    async with managed(granted()) as here:
        here.fail(step, status)
        for _ in range(3):
            assert await here.try_to_look() is not None
        assert here.told("PolicySynced")[1] == reason
        assert here.told("Ready")[1] == reason
        assert here.told("CredentialsVerified") == ("Unknown", "Pending")
        assert here.world.events == events
        assert here.steps().count("status") == 1


@pytest.mark.parametrize("garbage", [200, 502])
@pytest.mark.parametrize("step", ["list", "ensure"])
async def test_an_answer_that_makes_no_sense_is_no_answer(step: str, garbage: int) -> None:
    async with managed(granted()) as here:
        here.fail(step, garbage, garbage=True)
        assert isinstance(await here.try_to_look(), errors.Retryable)
        assert here.told("PolicySynced") == ("Unknown", "APIUnavailable")


async def test_a_wait_that_coreweave_asks_for_reaches_the_queue() -> None:
    async with managed(granted()) as here:
        here.fail("ensure", 429, retry_after="40")
        error = await here.try_to_look()
        assert isinstance(error, errors.RateLimited)
        assert error.retry_after_seconds == 40


async def test_pods_that_missed_are_looked_at_all_through_such_a_wait() -> None:
    async with managed(granted(), builders.binding("other", grants=[GRANT])) as here:
        here.cluster.pods = [builders.pod()]
        here.fail("list", 429, retry_after="3600")
        error = await here.try_to_look()
        assert isinstance(error, errors.RateLimited)
        assert error.back_within_seconds == here.world.acting.settings.reconcile.missed_seconds
        here.cluster.pods = []
        told = await here.try_to_look("other")
        assert told is not None
        assert told.back_within_seconds is None, "it shares the answer, but not the wait"


async def test_other_bindings_keep_to_the_wait_too_and_say_why() -> None:
    others = [builders.binding(f"b{n}", grants=[GRANT]) for n in range(5)]
    async with managed(granted(), *others) as here:
        here.fail("ensure", 429, retry_after="40")
        await here.try_to_look()
        here.heal()
        here.restart()
        for name in [*(f"b{n}" for n in range(5)), "reader"]:
            error = await here.try_to_look(name)
            assert isinstance(error, errors.RateLimited)
            assert 30 < (error.retry_after_seconds or 0) < 40
            assert here.told("PolicySynced", name) == ("False", "RateLimited")
            assert "wants fewer requests" in here.condition("PolicySynced", name)["message"]
        assert here.steps().count("ensure") == 1


async def test_another_organization_does_not_have_to_wait() -> None:
    async with managed(granted()) as here:
        here.fail("ensure", 429, retry_after="40")
        await here.try_to_look()
        here.heal()
        here.federate(organizationID="cw5678")
        assert await here.try_to_look() is None
        assert here.told("PolicySynced") == ("True", "Synced")


async def test_a_failed_list_is_not_asked_for_by_every_binding() -> None:
    others = [builders.binding(f"b{n}", grants=[GRANT]) for n in range(5)]
    async with managed(*others) as here:
        here.fail("list", 500)
        for n in range(5):
            assert await here.try_to_look(f"b{n}") is not None
        assert here.steps().count("list") == 1


TOKENS: list[builders.Json | None] = [
    None,
    raw_secret(),
    raw_secret(other="eA=="),
    secret(""),
    secret(" \n"),
    secret("two words"),
    raw_secret(token="%%%"),
    raw_secret(token="é"),
    raw_secret(token="//79"),
    {"metadata": {}},
]


@pytest.mark.parametrize("found", TOKENS, ids=range(len(TOKENS)))
async def test_a_token_that_is_none_is_told_and_nothing_is_sent(
    found: builders.Json | None,
) -> None:
    async with managed(granted()) as here:
        (path,) = here.cluster.stored
        del here.cluster.stored[path]
        if found is not None:
            here.cluster.stored[path] = found
        assert isinstance(await here.try_to_look(), errors.Terminal)
        assert here.told("PolicySynced") == ("False", "PermissionDenied")
        assert (
            "condition APITokenValid says what to do" in here.condition("PolicySynced")["message"]
        )
        assert here.organization.tokens == []
        assert here.finalizers == []


async def test_a_secret_that_may_not_be_read_is_no_token() -> None:
    async with managed(granted()) as here:
        here.fail("secret", 403)
        assert isinstance(await here.try_to_look(), TokenMissing)
        assert here.told("PolicySynced") == ("False", "PermissionDenied")


async def test_other_bindings_do_not_suffer_from_one_that_is_refused() -> None:
    other = builders.binding("other", grants=[GRANT])
    async with managed(granted(), other) as here:
        here.fail("ensure", 400)
        assert await here.try_to_look() is not None
        here.heal()
        assert await here.try_to_look("other") is None
        assert here.told("PolicySynced", "other") == ("True", "Synced")
