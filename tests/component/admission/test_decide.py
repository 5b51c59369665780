"""Where a decision gets its facts: the caches, and one live read when they miss."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web

import builders
from caios_federation.admission.decide import Decider, Decision
from caios_federation.api.vocabulary import SkipReason
from caios_federation.caches import Account, Accounts, Caches, ObjectCache
from caios_federation.clients import errors
from caios_federation.core.plan import Placement
from component.clients.api_server import (
    Answer,
    ScriptedApi,
    Seen,
    always,
    connected,
    failure,
    in_turn,
    reply,
    scripted,
)

POD = builders.pod()
FEDERATED = builders.service_account(inject="true")
PLAIN = builders.service_account()


@dataclass(frozen=True, slots=True)
class World:
    """A decider, what it knows, and the API server it asks."""

    decider: Decider
    caches: Caches
    api: ScriptedApi

    @property
    def reads(self) -> list[str]:
        """What was asked about ServiceAccounts; each read asks for the bindings too."""
        return [asked for asked in self.api.asked if "serviceaccounts" in asked]

    async def decide(self, name: str = "reader") -> Decision:
        return await self.decider.decide("team-a", builders.pod(serviceAccountName=name))


@asynccontextmanager
async def world(
    answer: Answer,
    *known: builders.Json,
    live_read_seconds: float = 10,
    live_bindings: Sequence[builders.Json] = (),
) -> AsyncIterator[World]:
    """Yield a world whose caches know a federation and `known`.

    `answer` is for reads of ServiceAccounts; `live_bindings` are all that the API server has.
    """
    caches = knowing(*known)

    async def split(request: Seen) -> web.StreamResponse:
        if request.path.endswith("/namespaces/team-a/federatedstoragebindings"):
            return reply(items=list(live_bindings))
        return await answer(request)

    async with scripted(split) as api:
        decider = Decider(caches, api.client, Placement(), live_read_seconds=live_read_seconds)
        yield World(decider, caches, api)


def knowing(*known: builders.Json) -> Caches:
    caches = Caches()
    caches.issuer = builders.ISSUER
    by_kind: dict[str, ObjectCache[Any]] = {
        "ServiceAccount": caches.accounts,
        "FederatedStorageBinding": caches.bindings,
        "StorageFederation": caches.federations,
    }
    for body in (builders.federation(), *known):
        by_kind[body["kind"]].observe(None, body)
    return caches


class Held:
    """An answer that comes when the test says so."""

    def __init__(self, make: Callable[[], web.StreamResponse]) -> None:
        self.asked = asyncio.Event()
        self.released = asyncio.Event()
        self._make = make

    async def __call__(self, _request: Seen) -> web.StreamResponse:
        self.asked.set()
        await self.released.wait()
        return self._make()


def federated() -> web.Response:
    return reply(**FEDERATED)


async def soon(wait: Awaitable[Any]) -> None:
    """Wait for something that has to come; fail where it does not."""
    async with asyncio.timeout(10):
        await wait


async def test_a_known_service_account_needs_no_request() -> None:
    async with world(always(lambda: failure(500)), FEDERATED) as here:
        decision = await here.decide()
    assert decision.outcome == "injected"
    assert decision.principal == builders.PRINCIPAL
    assert here.api.seen == []


async def test_a_known_service_account_that_asks_for_nothing_needs_no_request() -> None:
    async with world(always(lambda: failure(500)), PLAIN) as here:
        assert here.decider.certainly_unaffected("team-a", POD)
        decision = await here.decide()
    assert decision.skipped is SkipReason.NOT_FEDERATED
    assert here.api.seen == []


async def test_a_missing_service_account_is_read_once() -> None:
    async with world(in_turn(federated)) as here:
        assert not here.decider.certainly_unaffected("team-a", POD)
        decision = await here.decide()
    assert decision.outcome == "injected"
    assert here.reads == ["GET /api/v1/namespaces/team-a/serviceaccounts/reader"]


async def test_a_bound_service_account_that_is_missing_is_injected_whatever_the_read_says() -> None:
    async with world(always(lambda: reply(**PLAIN)), builders.binding()) as here:
        assert (await here.decide()).outcome == "injected"


async def test_a_binding_that_came_with_its_service_account_and_pod_is_read_live_too() -> None:
    bindings = [builders.binding("other", serviceAccountName="other"), builders.binding()]
    async with world(always(lambda: reply(**PLAIN)), live_bindings=bindings) as here:
        assert (await here.decide()).outcome == "injected"
        assert here.caches.bindings.objects == {}


async def test_a_young_service_account_may_have_a_binding_that_the_watch_has_not_shown() -> None:
    async with world(always(lambda: reply(**PLAIN)), live_bindings=[builders.binding()]) as here:
        here.caches.accounts.observe("ADDED", PLAIN)
        assert not here.decider.certainly_unaffected("team-a", POD)
        assert (await here.decide()).outcome == "injected"
        here.caches.accounts._arrived.clear()
        assert here.decider.certainly_unaffected("team-a", POD)
        assert (await here.decide()).skipped is SkipReason.NOT_FEDERATED
    assert len(here.reads) == 1


async def test_a_young_service_account_that_opts_in_by_itself_is_not_read() -> None:
    async with world(always(lambda: failure(500))) as here:
        here.caches.accounts.observe("ADDED", FEDERATED)
        assert (await here.decide()).outcome == "injected"
    assert here.api.seen == []


async def test_youth_ends_and_is_forgotten() -> None:
    now = 100.0
    accounts = Accounts(clock=lambda: now)
    accounts.observe("ADDED", PLAIN)
    assert accounts.young("team-a/reader")
    now = 106.0
    assert not accounts.young("team-a/reader")
    accounts.observe("ADDED", builders.service_account("later"))
    assert accounts._arrived.keys() == {"team-a/later"}


async def test_what_was_there_when_the_watch_began_is_not_young() -> None:
    accounts = Accounts()
    accounts.observe(None, PLAIN)
    assert not accounts.young("team-a/reader")


async def test_a_flood_of_unknown_names_makes_few_reads_at_a_time() -> None:
    under_way, most = 0, 0

    async def count(_request: Seen) -> web.StreamResponse:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        return failure(404)

    async with world(count) as here:
        await asyncio.gather(*(here.decide(f"name-{number}") for number in range(100)))
    assert len(here.reads) == 100
    assert most <= 16


async def test_a_service_account_that_does_not_exist_is_not_federated() -> None:
    async with world(always(lambda: failure(404))) as here:
        decision = await here.decide()
    assert decision.skipped is SkipReason.NOT_FEDERATED
    assert decision.warnings == ()


async def test_a_pod_that_opts_out_causes_no_read() -> None:
    async with world(always(federated)) as here:
        raw = builders.pod(labels=builders.words(inject="false"))
        decision = await here.decider.decide("team-a", raw)
    assert decision.skipped is SkipReason.POD_OPTED_OUT
    assert here.api.seen == []


async def test_ten_misses_of_one_name_make_one_read() -> None:
    held = Held(federated)
    async with world(held) as here:
        waiting = [asyncio.create_task(here.decide()) for _ in range(10)]
        await soon(held.asked.wait())
        held.released.set()
        decisions = await asyncio.gather(*waiting)
    assert {decision.outcome for decision in decisions} == {"injected"}
    assert len(here.reads) == 1


async def test_misses_of_different_names_make_a_read_each() -> None:
    async with world(always(lambda: failure(404))) as here:
        await asyncio.gather(here.decide("a"), here.decide("b"), here.decide("a"))
    assert sorted(here.reads) == [
        f"GET /api/v1/namespaces/team-a/serviceaccounts/{name}" for name in "ab"
    ]


async def test_who_gives_up_waiting_does_not_take_the_answer_from_the_others() -> None:
    held = Held(federated)
    async with world(held) as here:
        first, second = (asyncio.create_task(here.decide()) for _ in range(2))
        await soon(held.asked.wait())
        first.cancel()
        await asyncio.wait([first])
        held.released.set()
        decision = await second
    assert first.cancelled()
    assert decision.outcome == "injected"
    assert len(here.reads) == 1


async def test_a_failed_read_is_tried_again_for_the_next_pod() -> None:
    async with world(in_turn(lambda: failure(503), federated)) as here:
        with pytest.raises(errors.Unavailable):
            await here.decide()
        assert (await here.decide()).outcome == "injected"


async def test_a_failed_read_fails_all_who_wait_for_it() -> None:
    held = Held(lambda: failure(503))
    async with world(held) as here:
        waiting = [asyncio.create_task(here.decide()) for _ in range(3)]
        await soon(held.asked.wait())
        held.released.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(result) for result in results} == {errors.Unavailable}
    assert len(here.reads) == 1


async def test_a_late_answer_is_no_answer() -> None:
    held = Held(federated)
    async with world(held, live_read_seconds=0.05) as here:
        with pytest.raises(errors.Unavailable, match=r"no answer in 0\.05 s"):
            await here.decide()
        held.released.set()


async def test_an_api_server_that_is_gone_is_unavailable() -> None:
    async with connected("http://127.0.0.1:1") as client:
        decider = Decider(knowing(), client, Placement(), live_read_seconds=10)
        with pytest.raises(errors.Unavailable):
            await decider.decide("team-a", POD)


async def test_a_live_answer_never_enters_the_cache() -> None:
    async with world(always(federated)) as here:
        await here.decide()
        assert here.caches.accounts.objects == {}
        await here.decide()
    assert len(here.reads) == 2


async def test_a_live_answer_never_overwrites_what_the_watch_has_shown_meanwhile() -> None:
    held = Held(lambda: reply(**PLAIN))
    async with world(held) as here:
        waiting = asyncio.create_task(here.decide())
        await soon(held.asked.wait())
        here.caches.accounts.observe("ADDED", FEDERATED)
        held.released.set()
        await waiting
        known = here.caches.accounts.objects["team-a/reader"]
        assert known == Account("uid-team-a-reader", {"caios.coreweave.com/inject": "true"})
        assert (await here.decide()).outcome == "injected"


@pytest.mark.parametrize("make", [federated, lambda: failure(503)])
async def test_a_read_that_nobody_waits_for_any_more_leaves_nothing_behind(
    make: Callable[[], web.StreamResponse],
) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: complaints.append(about))
    held = Held(make)
    async with world(held) as here:
        only = asyncio.create_task(here.decide())
        await soon(held.asked.wait())
        (reading,) = here.decider._reading.values()
        only.cancel()
        await asyncio.wait([only])
        held.released.set()
        await soon(asyncio.wait([reading]))
        await asyncio.sleep(0)
        assert here.decider._reading == {}
    del only, reading
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


async def test_reads_leave_no_memory_of_the_names_asked_for() -> None:
    async with world(always(lambda: failure(404))) as here:
        await asyncio.gather(*(here.decide(f"name-{number}") for number in range(50)))
        await asyncio.sleep(0)
        assert here.decider._reading == {}


async def decided_before(here: World) -> Decision | None:
    return here.decider.decide_as_before("team-a", POD)


Changes = Callable[[Caches], object]
CHANGES: dict[str, Changes] = {
    "the annotations": lambda caches: caches.accounts.observe(
        "MODIFIED", builders.service_account(inject="true", audience="https://other.example")
    ),
    "the ServiceAccount's end": lambda caches: caches.accounts.observe("DELETED", FEDERATED),
    "another ServiceAccount of the name": lambda caches: (
        caches.accounts.observe("DELETED", FEDERATED),
        caches.accounts.observe("ADDED", FEDERATED),
    ),
    "a binding": lambda caches: caches.bindings.observe("ADDED", builders.binding()),
    "the federation": lambda caches: caches.federations.observe(
        "MODIFIED", builders.federation(region="US-EAST-02A")
    ),
    "the federation's end": lambda caches: caches.federations.observe(
        "DELETED", builders.federation()
    ),
    "the issuer": lambda caches: setattr(caches, "issuer", "https://other.example"),
}


async def test_the_first_pod_of_a_service_account_is_for_the_handler_and_the_next_as_it_was() -> (
    None
):
    async with world(always(lambda: failure(500)), FEDERATED) as here:
        assert await decided_before(here) is None
        decision = await here.decide()
        assert await decided_before(here) == decision
        assert here.decider.decide_as_before("team-b", POD) is None


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_the_handler_is_asked_again_after_any_change(change: Changes) -> None:
    async with world(always(lambda: failure(404)), FEDERATED) as here:
        await here.decide()
        change(here.caches)
        assert await decided_before(here) is None
        decision = await here.decide()
        assert await decided_before(here) in (decision, None)


async def test_changes_of_others_change_nothing() -> None:
    async with world(always(lambda: failure(500)), FEDERATED) as here:
        decision = await here.decide()
        other = builders.service_account("other", inject="true")
        here.caches.accounts.observe("ADDED", other)
        here.caches.accounts.observe("MODIFIED", {**other, "secrets": []})
        binding = builders.binding("other", serviceAccountName="other")
        here.caches.bindings.observe("ADDED", binding)
        here.caches.federations.observe("ADDED", builders.federation("other"))
        assert await decided_before(here) == decision


async def test_a_pod_with_wishes_of_its_own_is_for_the_handler() -> None:
    async with world(always(lambda: failure(500)), FEDERATED) as here:
        own = builders.pod(annotations=builders.words(**{"token-expiration": "7200"}))
        await here.decider.decide("team-a", own)
        assert await decided_before(here) is None  # nothing is kept of it
        usual = await here.decide()
        assert here.decider.decide_as_before("team-a", own) is None
        out = builders.pod(labels=builders.words(inject="false"))
        assert here.decider.decide_as_before("team-a", out) is None
        assert await decided_before(here) == usual


async def test_what_leads_to_no_injection_is_looked_at_each_time() -> None:
    opted_out = builders.service_account(inject="false")
    async with world(always(lambda: failure(500)), opted_out) as here:
        assert (await here.decide()).skipped is SkipReason.ACCOUNT_OPTED_OUT
        assert await decided_before(here) is None


async def test_what_was_read_live_does_not_outlive_what_the_watch_shows() -> None:
    async with world(always(federated)) as here:
        assert (await here.decide()).outcome == "injected"
        assert await decided_before(here) is None
        here.caches.accounts.observe("ADDED", builders.service_account(inject="false"))
        assert await decided_before(here) is None
        assert (await here.decide()).skipped is SkipReason.ACCOUNT_OPTED_OUT


async def test_what_is_kept_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caios_federation.admission.decide._KEPT", 3)
    names = [f"name-{number}" for number in range(5)]
    known = [builders.service_account(name, inject="true") for name in names]
    async with world(always(lambda: failure(500)), *known) as here:
        for name in names:
            await here.decide(name)
        assert list(here.decider._resolved) == [f"team-a/name-{number}" for number in (2, 3, 4)]
