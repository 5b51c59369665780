"""A service that wants to be left alone until later is, whoever wants to ask it."""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable

import pytest
import structlog
from aiohttp import web
from pydantic import SecretStr

from caios_federation.clients import errors
from caios_federation.clients.circuit import MOST_UNDER_WAY
from caios_federation.reconcile.queue import Key, Queue
from caios_federation.settings import ReconcileSettings
from component.clients.api_server import Answer, Seen, always, in_turn, reply
from component.clients.coreweave import API_TOKEN, CALLS, POLICY, owner_of, scripted
from component.clients.test_coreweave_retries import waits

BINDINGS = 40
LOOKS = 3
TOKEN = SecretStr("eyJ.a.b")
CREDENTIALS = {"AccessKeyId": "a", "SecretAccessKey": "s", "Expiration": "2026-11-24T13:00:00Z"}
WISHES = {429: "fewer requests", 503: "to be left alone"}
KINDS = {429: errors.RateLimited, 503: errors.Unavailable}


def busy(retry_after: str, status: int = 429) -> web.Response:
    return web.json_response({}, status=status, headers={"Retry-After": retry_after})


def busy_for(part_of_path: str) -> Answer:
    """Answer requests for such a path with 429, and all others well."""

    async def answer(request: Seen) -> web.StreamResponse:
        if part_of_path in request.path:
            return busy("60")
        return reply(policies=[], principal={}, **CREDENTIALS)

    return answer


async def refused(call: Awaitable[object]) -> errors.Retryable:
    """Return what a call raises that is to be made later."""
    with pytest.raises(errors.Retryable) as caught:
        await call
    return caught.value


async def test_of_many_bindings_one_asks_within_a_pause_however_often_they_are_looked_at() -> None:
    async with scripted(always(lambda: busy("60"))) as (it, seen):
        assert (await refused(it.api.ensure_policy(POLICY))).retry_after_seconds == 60
        looks, over = Counter[Key](), asyncio.Event()

        async def reconcile(key: Key) -> None:
            looks[key] += 1
            if len(looks) == BINDINGS and min(looks.values()) >= LOOKS:
                over.set()
            await it.api.ensure_policy(POLICY)

        keys = [Key("FederatedStorageBinding", "team-a", f"b-{n}") for n in range(BINDINGS)]
        queue = Queue(reconcile, ReconcileSettings(resync_seconds=0.01))
        with structlog.testing.capture_logs() as lines:
            running = asyncio.create_task(queue.run(lambda: keys))
            async with asyncio.timeout(30):
                await over.wait()
            running.cancel()
            await asyncio.wait([running])
    assert len(seen) == 1
    failed = [line for line in lines if line["event"] == "reconcile failed"]
    assert len(failed) >= BINDINGS * (LOOKS - 1)
    assert all("not asked" in line["err"] for line in failed)
    # The seconds of the pause that are left, and a part of them at random.
    assert all(30 < line["retryAfterSeconds"] <= 60 * 1.2 for line in failed)
    assert len({line["retryAfterSeconds"] for line in failed}) > len(failed) / 2


async def test_who_has_waited_for_a_turn_meanwhile_is_held_back_too() -> None:
    async with scripted(always(lambda: busy("60")), requests_per_second=2) as (it, seen):
        found = await asyncio.gather(*(refused(it.api.whoami()) for _ in range(3)))
    assert len(seen) == 1
    assert sum("not asked" in str(error) for error in found) == 2


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("status", WISHES)
async def test_what_is_not_asked_fails_as_what_was(status: int, operation: str) -> None:
    async with scripted(always(lambda: busy("60", status))) as (it, seen):
        errs = [await refused(CALLS[operation](it, TOKEN)) for _ in range(2)]
    assert [type(error) for error in errs] == [KINDS[status]] * 2
    text = f"CoreWeave API: {operation}: not asked, as CoreWeave wants {WISHES[status]} until "
    assert re.fullmatch(rf"{text}\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ", str(errs[1]))
    assert 0 < (errs[1].retry_after_seconds or 0) < 60
    assert len(seen) == 1


@pytest.mark.parametrize("status", [400, 409])
async def test_a_refusal_of_one_request_holds_up_no_other(status: int) -> None:
    async with scripted(always(lambda: busy("60", status))) as (it, seen):
        for _ in range(2):
            with pytest.raises(errors.ClientError, match=str(status)):
                await it.api.ensure_policy(POLICY)
    assert len(seen) == 2


async def test_a_pause_of_days_is_one_of_an_hour() -> None:
    async with scripted(always(lambda: busy("864000"))) as (it, _):
        for _ in range(2):
            assert 3500 < ((await refused(it.api.whoami())).retry_after_seconds or 0) <= 3600


async def test_when_the_pause_is_over_it_is_asked_again() -> None:
    answers = in_turn(lambda: busy("0.05"), lambda: reply(policies=[]))
    async with scripted(answers) as (it, seen), asyncio.timeout(30):
        wait = (await refused(it.api.policies())).retry_after_seconds
        while wait:
            await asyncio.sleep(wait)
            try:
                await it.api.policies()
                wait = None
            except errors.RateLimited as error:
                wait = error.retry_after_seconds
    assert len(seen) == 2


async def test_a_pause_that_is_short_is_waited_for_by_all() -> None:
    answers = in_turn(lambda: busy("0.3"), lambda: reply(policies=[]), lambda: reply(policies=[]))
    async with scripted(answers, longest_retry_seconds=1) as (it, seen), asyncio.timeout(30):
        waiting = asyncio.Event()
        with waits(waiting.set) as found:
            first = asyncio.create_task(it.api.policies())
            await waiting.wait()
            assert await it.api.policies() == {} == await first
    assert found[0] == 0.3
    assert 0 < found[1] <= 0.3
    assert len(seen) == 3


async def test_of_many_who_waited_for_a_short_pause_none_is_refused_afterwards() -> None:
    """They wake together, more than may be under way at once, and take turns from then on."""
    answers = iter([busy("0.3")])

    async def answer(_: Seen) -> web.StreamResponse:
        return next(answers, None) or reply(policies=[])

    usual = {"longest_retry_seconds": 1, "requests_per_second": 200}
    async with scripted(answer, **usual) as (it, seen), asyncio.timeout(30):
        found = await asyncio.gather(*(it.api.policies() for _ in range(MOST_UNDER_WAY + 9)))
    assert found == [{}] * len(found)
    assert len(seen) == len(found) + 1


async def test_who_is_asked_for_too_much_holds_up_nothing_else() -> None:
    async with scripted(busy_for("/access-policy")) as (it, _):
        await refused(it.api.policies())
        await it.api.whoami()
        await it.coreweave.exchange(it.credentials_uri, TOKEN)


async def test_a_service_holds_up_no_other() -> None:
    async with scripted(busy_for("/")) as (it, _), scripted(busy_for("none")) as (other, _):
        await refused(it.api.whoami())
        await it.coreweave.organization(other.url, owner_of(API_TOKEN)).whoami()


async def test_an_organization_holds_up_no_other() -> None:
    async def answer(request: Seen) -> web.StreamResponse:
        is_busy = request.headers["Authorization"] == "Bearer busy"
        return busy("60") if is_busy else reply(principal={})

    async with scripted(answer) as (it, seen):
        one, another = (it.coreweave.organization(it.url, owner_of("busy"), "1") for _ in range(2))
        other = it.coreweave.organization(it.url, owner_of("idle"), "2")
        await refused(one.whoami())
        await refused(another.whoami())
        assert len(seen) == 1
        await other.whoami()


async def test_an_organization_holds_up_the_exchange_of_no_other() -> None:
    async with scripted(busy_for("/oidc/cw1234")) as (it, seen):
        await refused(it.coreweave.exchange(it.credentials_uri, TOKEN))
        await refused(it.coreweave.exchange(it.credentials_uri, SecretStr("eyJ.another.b")))
        assert len(seen) == 1
        await it.coreweave.exchange(it.credentials_uri.replace("cw1234", "cw5678"), TOKEN)
