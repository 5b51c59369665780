"""Watches: lines of events, however they are cut, and what ends them."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import orjson
import pytest
from aiohttp import web

import builders
from caios_federation.clients import errors, kubernetes
from caios_federation.clients.kubernetes import BINDING, SERVICE_ACCOUNT, KubernetesClient
from caios_federation.clients.watches import WatchEvent
from component.clients.api_server import Seen, failure, scripted


def event(kind: str, version: str, name: str = "reader") -> bytes:
    """Return the line of an event."""
    body = builders.service_account(name)
    body["metadata"]["resourceVersion"] = version
    return orjson.dumps({"type": kind, "object": body}) + b"\n"


def bookmark(version: str) -> bytes:
    body = {"kind": "ServiceAccount", "metadata": {"resourceVersion": version}}
    return orjson.dumps({"type": "BOOKMARK", "object": body}) + b"\n"


def error(code: int, reason: str) -> bytes:
    status = {"kind": "Status", "code": code, "reason": reason, "message": "secret words"}
    return orjson.dumps({"type": "ERROR", "object": status}) + b"\n"


async def watched(client: KubernetesClient, version: str = "7") -> list[WatchEvent]:
    async with asyncio.timeout(20):
        return [one async for one in client.watch(SERVICE_ACCOUNT, version)]


async def told(*chunks: bytes) -> list[WatchEvent]:
    """Return the events of a watch that consists of `chunks`."""

    async def answer(_request: Seen) -> web.StreamResponse:
        return web.Response(body=each_by_itself(chunks))

    async with scripted(answer) as api:
        return await watched(api.client)


async def each_by_itself(chunks: Sequence[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
        await asyncio.sleep(0)


def pieces(content: bytes, size: int) -> list[bytes]:
    return [content[start : start + size] for start in range(0, len(content), size)]


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
async def test_events_are_read_however_they_are_cut(size: int) -> None:
    lines = event("ADDED", "8") + event("MODIFIED", "9") + b"\n" + event("DELETED", "10")
    found = await told(*pieces(lines, size))
    assert [(one.type, one.version) for one in found] == [
        ("ADDED", "8"),
        ("MODIFIED", "9"),
        ("DELETED", "10"),
    ]
    assert {one.object["metadata"]["name"] for one in found} == {"reader"}
    assert not any(one.is_bookmark for one in found)


async def test_an_object_of_a_megabyte_is_one_event() -> None:
    body = builders.service_account(audience="x" * 1_000_000)
    body["metadata"]["resourceVersion"] = "8"
    line = orjson.dumps({"type": "ADDED", "object": body}) + b"\n"
    (found,) = await told(*pieces(line, 50_000))
    assert found.object == body


async def test_a_bookmark_says_how_far_the_watch_has_come() -> None:
    (found,) = await told(bookmark("99"))
    assert (found.is_bookmark, found.version) == (True, "99")


async def test_a_watch_that_is_cut_in_the_middle_of_a_line_ends_with_what_was_whole() -> None:
    found = await told(event("ADDED", "8"), event("MODIFIED", "9")[:-20])
    assert [one.version for one in found] == ["8"]


async def test_others_get_their_turn_while_many_events_are_told() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def answer(_request: Seen) -> web.StreamResponse:
        return web.Response(body=b"".join(event("ADDED", str(n)) for n in range(2000)))

    async with scripted(answer) as api:
        task = asyncio.create_task(count())
        assert len(await watched(api.client)) == 2000
        task.cancel()
    assert turns >= 2000 / 20


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        (error(410, "Expired"), errors.Expired, "watch of serviceaccounts: 410 Expired"),
        (error(500, "InternalError"), errors.Unavailable, "watch of serviceaccounts: 500"),
        (b"{}\n", errors.Malformed, "a line that is no event"),
        (b"<html>\n", errors.Malformed, "a line that is no event"),
        (b'{"type": "ADDED", "object": null}\n', errors.Malformed, "a line that is no event"),
    ],
)
async def test_what_is_no_event_ends_the_watch(
    line: bytes, kind: type[errors.ClientError], words: str
) -> None:
    with pytest.raises(kind, match=words) as raised:
        await told(event("ADDED", "8"), line)
    assert "secret words" not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(410, errors.Expired), (403, errors.PermissionDenied), (503, errors.Unavailable)],
)
async def test_a_watch_that_is_refused_says_why(
    status: int, kind: type[errors.ClientError]
) -> None:
    async def answer(_request: Seen) -> web.StreamResponse:
        return failure(status, "because")

    async with scripted(answer) as api:
        with pytest.raises(kind, match=f"watch of serviceaccounts: {status} because"):
            await watched(api.client)


async def test_a_watch_goes_on_from_a_version_and_asks_for_bookmarks() -> None:
    async def answer(_request: Seen) -> web.StreamResponse:
        return web.Response(body=b"")

    async with scripted(answer, token="t0ken") as api:  # not one
        assert await watched(api.client, "7") == []
        assert [one async for one in api.client.watch(BINDING, "8")] == []
    first, second = api.seen
    assert first.path == "/api/v1/serviceaccounts"
    assert first.query == {
        "watch": "true",
        "resourceVersion": "7",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": "300",
    }
    assert first.headers["Authorization"] == "Bearer t0ken"
    assert second.path == "/apis/caios.coreweave.com/v1alpha1/federatedstoragebindings"


async def test_a_watch_without_a_sign_of_life_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes, "SILENCE_SECONDS", 0.05)
    over = asyncio.Event()

    async def silent() -> AsyncIterator[bytes]:
        yield event("ADDED", "8")
        await over.wait()

    async def answer(_request: Seen) -> web.StreamResponse:
        return web.Response(body=silent())

    async with scripted(answer) as api:
        with pytest.raises(errors.Unavailable, match="watch of serviceaccounts"):
            await watched(api.client)
        over.set()
