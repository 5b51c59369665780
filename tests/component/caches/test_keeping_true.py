"""How the caches are filled, kept true, and kept when the API server is in trouble."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import structlog
from aiohttp import web

import builders
from caios_federation.caches import PLAIN, Caches, Change
from caios_federation.clients import errors
from caios_federation.clients.kubernetes import BINDING, FEDERATION, NAMESPACE, SERVICE_ACCOUNT
from caios_federation.settings import CacheSettings
from component.clients.api_server import ScriptedApi, Seen, failure, reply, scripted

SETTINGS = CacheSettings(audit_period_seconds=0.01, page_size=2)
ISSUER_PATH = "/.well-known/openid-configuration"
ACCOUNTS_PATH = "/api/v1/serviceaccounts"
BINDINGS_PATH = "/apis/caios.coreweave.com/v1alpha1/federatedstoragebindings"
NAMESPACES_PATH = "/api/v1/namespaces"
TEAM_A = {"metadata": {"name": "team-a", "labels": {"team": "a"}, "resourceVersion": "1"}}
FEDERATIONS_PATH = "/apis/caios.coreweave.com/v1alpha1/storagefederations"


class Cluster:
    """An API server with objects, which can be told to fail."""

    def __init__(self) -> None:
        self.issuer: str = builders.ISSUER
        self.objects: dict[str, list[builders.Json]] = {
            ACCOUNTS_PATH: [
                builders.service_account(inject="true"),
                builders.service_account("plain"),
                builders.service_account("other"),
            ],
            BINDINGS_PATH: [builders.binding()],
            FEDERATIONS_PATH: [builders.federation()],
            NAMESPACES_PATH: [TEAM_A],
        }
        self.failures: dict[str, Callable[[], web.StreamResponse]] = {}
        """What a path answers instead."""
        self.audits = 0
        """Audits that got to their end."""

    async def __call__(self, request: Seen) -> web.StreamResponse:
        if request.path in self.failures:
            return self.failures[request.path]()
        if request.path == ISSUER_PATH:
            return reply(issuer=self.issuer)
        start = int(request.query.get("continue") or 0)
        end = start + int(request.query["limit"])
        items = self.objects[request.path]
        going_on = str(end) if end < len(items) else ""
        self.audits += request.path == ACCOUNTS_PATH and not going_on
        return reply(metadata={"continue": going_on}, items=items[start:end])


@asynccontextmanager
async def cluster() -> AsyncIterator[tuple[Cluster, ScriptedApi, Caches]]:
    answer = Cluster()
    async with scripted(answer) as api:
        with structlog.testing.capture_logs():
            yield answer, api, Caches()


@asynccontextmanager
async def keeping_true(
    caches: Caches, api: ScriptedApi, settings: CacheSettings = SETTINGS
) -> AsyncIterator[list[Change]]:
    changes: list[Change] = []
    task = asyncio.create_task(caches.keep_true(api.client, settings, changes.append))
    try:
        yield changes
        assert not task.done(), "it must never end by itself"
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  # requests give no event
            await asyncio.sleep(0.005)


async def test_everything_is_listed_before_the_caches_are_synced() -> None:
    async with cluster() as (_, api, caches), keeping_true(caches, api) as changes:
        async with asyncio.timeout(20):
            await caches.synced.wait()
        assert caches.issuer == builders.ISSUER
        assert caches.accounts.objects["team-a/plain"] is PLAIN
        assert caches.accounts.objects["team-a/reader"].annotations
        assert set(caches.bindings.objects) == {"team-a/reader"}
        assert set(caches.federations.objects) == {"default"}
        assert caches.namespaces.objects["team-a"].labels == {"team": "a"}
        kinds = [change.kind for change in changes]
        assert kinds == [None, NAMESPACE, FEDERATION, BINDING, *[SERVICE_ACCOUNT] * 3]


async def test_what_only_grants_ask_for_is_not_listed_for_admission() -> None:
    async with cluster() as (_, api, _):
        slim = Caches(slim=True)
        await slim.audit(api.client, SETTINGS)
        assert NAMESPACES_PATH not in {request.path for request in api.seen}
        assert slim.namespaces.objects == {}


@pytest.mark.parametrize("path", [ACCOUNTS_PATH, BINDINGS_PATH, FEDERATIONS_PATH])
async def test_the_caches_are_synced_only_when_everything_was_listed(path: str) -> None:
    async with cluster() as (answer, api, caches):
        answer.failures[path] = lambda: failure(503)
        async with keeping_true(caches, api):
            await until(lambda: sum(request.path == path for request in api.seen) >= 3)
            assert not caches.synced.is_set()
            del answer.failures[path]
            async with asyncio.timeout(20):
                await caches.synced.wait()


@pytest.mark.parametrize("status", [403, 404, 503])
async def test_an_issuer_that_cannot_be_discovered_is_told_and_holds_nothing_up(
    status: int,
) -> None:
    async with cluster() as (answer, api, caches):
        answer.failures[ISSUER_PATH] = lambda: failure(status, "because")
        async with keeping_true(caches, api):
            async with asyncio.timeout(20):
                await caches.synced.wait()
        assert caches.issuer is None
        assert caches.issuer_problem.endswith(f"{status} because")


async def test_an_issuer_once_known_outlives_a_failed_discovery() -> None:
    async with cluster() as (answer, api, caches):
        await caches.audit(api.client, SETTINGS)
        answer.failures[ISSUER_PATH] = lambda: failure(404)
        await caches.audit(api.client, SETTINGS)
        assert caches.issuer == builders.ISSUER


async def test_a_changed_issuer_is_told() -> None:
    async with cluster() as (answer, api, caches):
        await caches.audit(api.client, SETTINGS)
        answer.issuer = "https://oidc.example/id/2"
        changes: list[Change] = []
        await caches.audit(api.client, SETTINGS, changes.append)
        assert changes == [Change(None, "", builders.ISSUER, "https://oidc.example/id/2")]


BROKEN = {
    "503": lambda: failure(503),
    "403": lambda: failure(403),
    "410": lambda: failure(410, "the continuation expired"),
    "html": lambda: web.Response(text="<html>", content_type="text/html"),
    "no list": reply,
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("path", [ACCOUNTS_PATH, BINDINGS_PATH, FEDERATIONS_PATH])
async def test_a_failed_list_keeps_what_is_known(path: str, kind: str) -> None:
    async with cluster() as (answer, api, caches):
        await caches.audit(api.client, SETTINGS)
        known = [dict(c.objects) for c in (caches.accounts, caches.bindings, caches.federations)]
        answer.failures[path] = BROKEN[kind]
        with pytest.raises(errors.ClientError):
            await caches.audit(api.client, SETTINGS)
        assert [
            caches.accounts.objects,
            caches.bindings.objects,
            caches.federations.objects,
        ] == known


async def test_a_list_that_expires_in_the_middle_keeps_what_is_known() -> None:
    async with cluster() as (answer, api, caches):
        await caches.audit(api.client, SETTINGS)
        known = dict(caches.accounts.objects)
        answer.objects[ACCOUNTS_PATH] = answer.objects[ACCOUNTS_PATH][1:]
        pages = iter([reply(metadata={"continue": "2"}, items=[]), failure(410)])
        answer.failures[ACCOUNTS_PATH] = lambda: next(pages)
        with pytest.raises(errors.Expired):
            await caches.audit(api.client, SETTINGS)
        assert caches.accounts.objects == known


async def test_what_one_list_showed_is_taken_in_and_told_although_the_next_fails() -> None:
    async with cluster() as (answer, api, caches):
        answer.failures[ACCOUNTS_PATH] = lambda: failure(503)
        changes: list[Change] = []
        with pytest.raises(errors.Unavailable):
            await caches.audit(api.client, SETTINGS, changes.append)
        assert [change.kind for change in changes] == [None, NAMESPACE, FEDERATION, BINDING]
        assert set(caches.bindings.objects) == {"team-a/reader"}


async def test_ghosts_go_on_the_next_audit() -> None:
    async with cluster() as (answer, api, caches), keeping_true(caches, api):
        await until(caches.synced.is_set)
        answer.objects[ACCOUNTS_PATH] = []
        answer.objects[BINDINGS_PATH] = []
        await until(lambda: not caches.accounts.objects and not caches.bindings.objects)


async def test_what_was_deleted_while_a_watch_was_broken_goes_when_it_begins_anew() -> None:
    seldom = CacheSettings(audit_period_seconds=3600, page_size=2)
    async with cluster() as (answer, api, caches), keeping_true(caches, api, seldom):
        await until(caches.synced.is_set)
        gone, *left = answer.objects[ACCOUNTS_PATH]
        answer.objects[ACCOUNTS_PATH] = left
        assert f"team-a/{gone['metadata']['name']}" in caches.accounts.objects
        for body in left:
            caches.doubt()
            caches.accounts.observe(None, body)
        await until(lambda: set(caches.accounts.objects) == {"team-a/plain", "team-a/other"})
        assert answer.audits == 2


async def test_trouble_never_ends_the_audits() -> None:
    async with cluster() as (answer, api, caches), keeping_true(caches, api):
        await until(caches.synced.is_set)
        for make in BROKEN.values():
            answer.failures = dict.fromkeys([FEDERATIONS_PATH, ISSUER_PATH], make)
            api.seen.clear()
            await until(lambda: len(api.seen) >= 3)
        answer.failures = {}
        audits = answer.audits
        await until(lambda: answer.audits > audits + 1)


async def test_a_key_touched_during_a_list_is_left_to_the_watch() -> None:
    """The LIST was taken before the annotation went; what the watch said since is newer."""
    async with cluster() as (answer, api, caches):
        answer.failures[ACCOUNTS_PATH] = lambda: _while_listing(answer, caches)
        await caches.audit(api.client, SETTINGS)
        assert caches.accounts.objects["team-a/reader"] is PLAIN
        assert "team-a/other" not in caches.accounts.objects


def _while_listing(answer: Cluster, caches: Caches) -> web.Response:
    caches.accounts.observe("MODIFIED", builders.service_account())
    caches.accounts.observe("DELETED", builders.service_account("other"))
    return reply(metadata={}, items=answer.objects[ACCOUNTS_PATH])


async def test_the_late_end_of_an_old_object_leaves_its_successor() -> None:
    caches = Caches()
    new, old = (builders.service_account(inject="true") for _ in range(2))
    new["metadata"]["uid"], old["metadata"]["uid"] = "new", "old"
    caches.accounts.observe("ADDED", new)
    caches.accounts.observe("DELETED", old)
    assert caches.accounts.objects["team-a/reader"].uid == "new"
    caches.accounts.observe("DELETED", new)
    assert caches.accounts.objects == {}


async def test_a_stale_event_does_not_put_back_what_our_own_write_changed() -> None:
    caches = Caches()
    written, stale = (builders.binding() for _ in range(2))
    written["metadata"]["resourceVersion"] = "10"
    written["status"] = {"observedGeneration": 1}
    stale["metadata"]["resourceVersion"] = "9"
    caches.bindings.observe("MODIFIED", written)
    caches.bindings.observe("MODIFIED", stale)
    assert caches.bindings.objects["team-a/reader"].status == {"observedGeneration": 1}


async def test_versions_are_compared_as_numbers() -> None:
    caches = Caches()
    for version, region in (("9", "OLD"), ("10", "NEW")):
        body = builders.binding(region=region)
        body["metadata"]["resourceVersion"] = version
        caches.bindings.observe("MODIFIED", body)
    assert caches.bindings.objects["team-a/reader"].spec.region == "NEW"


async def test_a_users_binding_comes_before_an_older_one_of_ours() -> None:
    caches = Caches()
    ours = builders.binding("reader")
    ours["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "caios-federation"}
    theirs = builders.binding("mine", serviceAccountName="reader")
    theirs["metadata"]["creationTimestamp"] = "2026-11-24T11:00:00Z"
    for body in (ours, theirs):
        caches.bindings.observe("ADDED", body)
    holder = caches.bindings.holder("team-a", "reader")
    assert holder is not None
    assert holder.meta.name == "mine"


async def test_fifty_thousand_plain_service_accounts_share_one_entry() -> None:
    caches = Caches()
    for number in range(50_000):
        caches.accounts.observe("ADDED", builders.service_account(f"sa-{number}"))
    assert len(caches.accounts.objects) == 50_000
    assert {id(account) for account in caches.accounts.objects.values()} == {id(PLAIN)}
