"""ServiceAccounts are followed by a watch of our own: from a LIST on, without a gap."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import structlog
from aiohttp import web

import builders
from caios_federation import caches as caches_module
from caios_federation.caches import PLAIN, Caches, Change
from caios_federation.clients.kubernetes import SERVICE_ACCOUNT
from caios_federation.settings import CacheSettings
from component.caches.test_keeping_true import ACCOUNTS_PATH, until
from component.clients.api_server import Seen, failure, reply, scripted
from component.clients.test_watches import bookmark, error, event

Told = list[bytes] | web.StreamResponse
SETTINGS = CacheSettings(audit_period_seconds=3600, page_size=2)


class Cluster:
    """An API server with ServiceAccounts; its watches tell what they are given, and go on."""

    def __init__(self) -> None:
        self.names = ["reader", "other"]
        self.version = "10"
        self.lists = 0
        self.watched_from: list[str] = []
        self.watches: deque[Told | Callable[[], Told]] = deque()
        """What the next watches tell, before they end; or an answer instead."""
        self.over = asyncio.Event()
        self.failing = False
        self.refused = 0

    async def __call__(self, request: Seen) -> web.StreamResponse:
        if request.query.get("watch"):
            self.watched_from.append(request.query["resourceVersion"])
            if not self.watches:
                return web.Response(body=self._silence())
            told = self.watches.popleft()
            told = told() if callable(told) else told
            return web.Response(body=b"".join(told)) if isinstance(told, list) else told
        if request.path != ACCOUNTS_PATH:
            return reply(issuer=builders.ISSUER, metadata={}, items=[])
        if self.failing:
            self.refused += 1
            return failure(503)
        self.lists += 1
        items = [builders.service_account(name, inject="true") for name in self.names]
        return reply(metadata={"resourceVersion": self.version}, items=items)

    async def _silence(self) -> AsyncIterator[bytes]:
        await self.over.wait()
        yield b""


@asynccontextmanager
async def following(cluster: Cluster) -> AsyncIterator[tuple[Caches, list[Change]]]:
    """Follow what is in `cluster`; yield the caches, and the changes that are told."""
    changes: list[Change] = []
    caches = Caches(slim=True)
    async with scripted(cluster) as api:
        with structlog.testing.capture_logs():
            jobs = [
                asyncio.create_task(job)
                for job in (
                    caches.keep_true(api.client, SETTINGS),
                    caches.follow(caches.accounts, api.client, SETTINGS, changes.append),
                )
            ]
            try:
                yield caches, changes
                assert not any(job.done() for job in jobs), "it must never end by itself"
            finally:
                cluster.over.set()
                for job in jobs:
                    job.cancel()
                await asyncio.wait(jobs)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches_module, "_LONGEST_WATCH_RETRY_SECONDS", 0.01)


async def test_a_watch_begins_where_the_list_ended() -> None:
    cluster = Cluster()
    cluster.watches.append([event("ADDED", "11", "new"), event("DELETED", "12", "other")])
    async with following(cluster) as (caches, changes):
        await until(lambda: len(cluster.watched_from) == 2)
        assert set(caches.accounts.objects) == {"team-a/reader", "team-a/new"}
        assert caches.accounts.objects["team-a/new"] is PLAIN
    assert cluster.watched_from == ["10", "12"]
    assert cluster.lists == 1
    assert [(change.kind, change.key) for change in changes] == [
        (SERVICE_ACCOUNT, "team-a/new"),
        (SERVICE_ACCOUNT, "team-a/other"),
    ]


async def test_a_bookmark_moves_where_the_next_watch_begins_and_changes_nothing() -> None:
    cluster = Cluster()
    cluster.watches.append([bookmark("99")])
    async with following(cluster) as (caches, changes):
        await until(lambda: cluster.watched_from == ["10", "99"])
        assert set(caches.accounts.objects) == {"team-a/reader", "team-a/other"}
        assert changes == []


LOST: dict[str, Callable[[], Told]] = {
    "by an event": lambda: [event("MODIFIED", "11"), error(410, "Expired")],
    "at the start": lambda: failure(410, "too old"),
}


@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
async def test_what_went_while_events_were_lost_goes_with_another_list(
    lost: Callable[[], Told],
) -> None:
    cluster = Cluster()

    def meanwhile() -> Told:
        cluster.names, cluster.version = ["reader", "late"], "50"
        return lost()

    cluster.watches.append(meanwhile)
    async with following(cluster) as (caches, changes):
        await until(lambda: cluster.watched_from[-1:] == ["50"])
        assert set(caches.accounts.objects) == {"team-a/reader", "team-a/late"}
        assert "team-a/other" in {change.key for change in changes if change.now is None}
    assert cluster.lists == 2


async def test_a_watch_that_fails_is_resumed_and_loses_nothing() -> None:
    cluster = Cluster()
    cluster.watches += [
        [event("ADDED", "11", "new")],
        lambda: failure(503),
        lambda: failure(403),
        [b"<html>\n"],
        [event("ADDED", "12", "newer")],
    ]
    async with following(cluster) as (caches, _):
        await until(lambda: cluster.watched_from == ["10", "11", "11", "11", "11", "12"])
        assert {"team-a/new", "team-a/newer"} <= set(caches.accounts.objects)
    assert cluster.lists == 1


async def test_a_list_that_fails_after_events_were_lost_is_tried_again() -> None:
    cluster = Cluster()

    def failing() -> Told:
        cluster.failing, cluster.version = True, "50"
        return [error(410, "Expired")]

    cluster.watches.append(failing)
    async with following(cluster) as (caches, _):
        await until(lambda: cluster.refused >= 2)
        assert set(caches.accounts.objects) == {"team-a/reader", "team-a/other"}
        cluster.failing = False
        await until(lambda: cluster.watched_from == ["10", "50"])


async def test_doubt_about_other_kinds_lists_no_service_accounts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(caches_module, "_QUIET_SECONDS", 0.01)
    cluster = Cluster()
    async with following(cluster) as (caches, _):
        await until(lambda: len(cluster.watched_from) == 1)
        before = caches.bindings.last_sync
        caches.doubt()
        await until(lambda: caches.bindings.last_sync != before)
    assert cluster.lists == 1


async def test_a_young_service_account_is_known_as_young() -> None:
    cluster = Cluster()
    cluster.watches.append([event("ADDED", "11", "new")])
    async with following(cluster) as (caches, _):
        await until(lambda: "team-a/new" in caches.accounts.objects)
        assert caches.accounts.young("team-a/new")
        assert not caches.accounts.young("team-a/reader")
