"""The API token: read from its Secret when it is needed, and again soon after it changed."""

import asyncio
from collections.abc import Callable

import pytest
from aiohttp import web

import builders
from caios_federation.clients import errors
from caios_federation.reconcile.organizations import ApiToken, TokenMissing, TokenUnreadable
from component.clients.api_server import always, failure, in_turn, reply, scripted
from component.reconcile.managed import (
    API_TOKEN,
    SECRET_PATH,
    Managed,
    granted,
    managed,
    raw_secret,
    secret,
)

OLD, NEW = "CW-SECRET-old-token", "CW-SECRET-new-token"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def found(body: builders.Json) -> Callable[[], web.StreamResponse]:
    return lambda: reply(**body)


async def test_a_token_is_held_for_a_minute_at_most() -> None:
    clock = Clock()
    async with scripted(in_turn(found(secret(OLD)), found(secret(NEW)))) as api:
        token = ApiToken(api.client, "caios-federation", "coreweave", clock)
        held = []
        for now in (0.0, 59.9, 60.0, 100.0):
            clock.now = now
            held.append((await token()).get_secret_value())
        assert held == [OLD, OLD, NEW, NEW]
        assert api.asked == [f"GET {SECRET_PATH}"] * 2


async def test_a_token_that_is_forgotten_is_read_at_once() -> None:
    async with scripted(in_turn(found(secret(OLD)), found(secret(NEW)))) as api:
        token = ApiToken(api.client, "caios-federation", "coreweave")
        await token()
        token.forget()
        assert (await token()).get_secret_value() == NEW


async def test_a_token_that_is_gone_is_not_used_any_longer() -> None:
    clock = Clock()
    async with scripted(in_turn(found(secret(OLD)), lambda: failure(404))) as api:
        token = ApiToken(api.client, "caios-federation", "coreweave", clock)
        await token()
        clock.now = 60
        with pytest.raises(TokenMissing, match="Secret caios-federation/coreweave does not exist"):
            await token()


async def test_line_ends_around_a_token_are_none_of_it() -> None:
    async with scripted(always(found(secret(f"\n{NEW}\r\n")))) as api:
        token = ApiToken(api.client, "caios-federation", "coreweave")
        assert (await token()).get_secret_value() == NEW


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (lambda: failure(404), "does not exist"),
        (lambda: failure(403), "may not be read by the operator"),
        (found(raw_secret()), "has no key 'token'"),
        (found(raw_secret(token="")), "has no key 'token'"),
        (found({"metadata": {}}), "has no key 'token'"),
        (found(secret(" \n")), "key 'token' is empty or not plain text"),
        (found(secret("plänted")), "key 'token' is empty or not plain text"),
        (found(secret("plan\0ted")), "key 'token' is empty or not plain text"),
        (found(raw_secret(token="plant")), "key 'token' is empty or not plain text"),
        (found(raw_secret(token="plänt")), "key 'token' is empty or not plain text"),
    ],
)
async def test_a_secret_without_a_token_is_told_without_what_is_in_it(
    answer: Callable[[], web.StreamResponse], problem: str
) -> None:
    async with scripted(always(answer)) as api:
        token = ApiToken(api.client, "caios-federation", "coreweave")
        with pytest.raises(TokenMissing, match=problem) as caught:
            await token()
        assert str(caught.value).startswith("Secret caios-federation/coreweave")
        error: BaseException | None = caught.value
        while error is not None:
            assert "pl" not in f"{error.args!r}".replace("plain", "")
            error = error.__cause__ or error.__context__


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
async def test_an_api_server_that_tells_no_token_is_taken_for_nobody_else(status: int) -> None:
    async with scripted(always(lambda: failure(status))) as api:
        token = ApiToken(api.client, "caios-federation", "coreweave")
        with pytest.raises(TokenUnreadable, match=r"^Secret caios-federation/coreweave cannot"):
            await token()


@pytest.mark.parametrize("status", [401, 503])
async def test_a_token_that_the_api_server_does_not_tell_is_not_blamed_on_coreweave(
    status: int,
) -> None:
    async with managed(granted()) as here:
        here.fail("secret", status)
        assert isinstance(await here.try_to_look(), TokenUnreadable)
        assert here.told("PolicySynced") == ("Unknown", "Pending")
        assert "The API server does not let" in here.condition("PolicySynced")["message"]
        here.heal()
        here.forget_looks()
        await here.look_at_federation()
        assert await here.try_to_look() is None
        assert here.told("PolicySynced") == ("True", "Synced")


async def test_a_token_shows_itself_nowhere() -> None:
    async with scripted(always(found(secret(NEW)))) as api:
        token = ApiToken(api.client, "caios-federation", "coreweave")
        await token()
        assert NEW not in repr([token, vars(token)])


def used(here: Managed) -> list[str]:
    """Return the API tokens that were sent since the last call."""
    taken = [text.removeprefix("Bearer ") for text in here.organization.tokens]
    here.organization.tokens.clear()
    return taken


async def test_a_rotated_token_is_used_from_the_federations_next_look_on() -> None:
    async with managed(granted(), verification="Disabled") as here:
        here.cluster.stored[SECRET_PATH] = secret(OLD)
        assert isinstance(await here.try_to_look(), errors.Unauthenticated)
        assert set(used(here)) == {OLD}
        here.cluster.stored[SECRET_PATH] = secret(API_TOKEN)
        assert isinstance(await here.try_to_look(), errors.Unauthenticated)
        here.forget_looks()
        await here.look_at_federation()
        assert here.federation_told("APITokenValid") == ("True", "Valid")
        used(here)
        assert await here.try_to_look() is None
        assert set(used(here)) == {API_TOKEN}
        assert here.told("PolicySynced") == ("True", "Synced")


async def test_a_token_that_got_valid_does_away_with_the_failure_that_bindings_share() -> None:
    """They are looked at at once then; told of the old failure, they would wait for minutes."""
    async with managed(granted()) as here:
        here.fail("list", 401)
        assert isinstance(await here.try_to_look(), errors.Unauthenticated)
        here.heal()
        here.forget_looks()
        await here.look_at_federation()
        assert await here.try_to_look() is None


async def test_the_token_of_a_federation_that_is_gone_is_let_go() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.world.forget(builders.federation())
        await here.look_at_federation()
        assert here.world.acting.organizations._remotes == {}


async def test_many_who_need_the_token_at_once_all_get_it() -> None:
    async with scripted(always(found(secret(NEW)))) as api:
        token = ApiToken(api.client, "caios-federation", "coreweave")
        held = await asyncio.gather(*(token() for _ in range(5)))
        assert {each.get_secret_value() for each in held} == {NEW}
