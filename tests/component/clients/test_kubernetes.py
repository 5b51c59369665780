"""Conversations with an API server that pages, refuses, stalls and talks nonsense."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from caios_federation.clients import errors
from caios_federation.clients.kubernetes import (
    BINDING,
    EVENT,
    FEDERATION,
    POD,
    SERVICE_ACCOUNT,
    KubernetesClient,
)
from component.clients.api_server import (
    Answer,
    Seen,
    always,
    by_kubeconfig,
    connected,
    failure,
    in_turn,
    reply,
    scripted,
)

TOKEN = "eyJhbGciOi-planted-bearer-token"
BODY = {"metadata": {"name": "reader", "namespace": "team-a"}, "status": {"audience": "🪣"}}


async def names(client: KubernetesClient) -> list[str]:
    """Return the names of all ServiceAccounts."""
    listed = client.list_objects(SERVICE_ACCOUNT, page_size=2)
    return [body["metadata"]["name"] async for body in listed]


def page(*found: str, going_on: str = "") -> web.Response:
    metadata = {"continue": going_on} if going_on else {}
    return reply(metadata=metadata, items=[{"metadata": {"name": name}} for name in found])


async def test_a_list_is_read_page_by_page() -> None:
    token = "eyJ2IjoibWV0YS5rOHMuaW8=&/+"  # an opaque continuation may hold anything
    pages = in_turn(lambda: page("a", "b", going_on=token), lambda: page("c"))
    async with scripted(pages) as api:
        assert await names(api.client) == ["a", "b", "c"]
    assert [request.query for request in api.seen] == [
        {"limit": "2"},
        {"limit": "2", "continue": token},
    ]
    assert set(api.asked) == {"GET /api/v1/serviceaccounts"}


async def test_an_empty_page_in_the_middle_does_not_end_a_list() -> None:
    async with scripted(
        in_turn(lambda: page("a", going_on="x"), lambda: page(going_on="y"), lambda: page("b"))
    ) as api:
        assert await names(api.client) == ["a", "b"]


async def test_a_list_whose_items_are_null_is_empty() -> None:
    async with scripted(always(lambda: reply(metadata={}, items=None))) as api:
        assert await names(api.client) == []


async def test_a_continuation_that_expired_is_told_apart() -> None:
    pages = in_turn(lambda: page("a", going_on="old"), lambda: failure(410, "too old"))
    async with scripted(pages) as api:
        with pytest.raises(errors.Expired, match="410 too old"):
            await names(api.client)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, errors.Rejected),
        (401, errors.Unauthenticated),
        (403, errors.PermissionDenied),
        (404, errors.NotFound),
        (409, errors.WriteConflict),
        (410, errors.Expired),
        (415, errors.Rejected),
        (422, errors.Rejected),
        (429, errors.RateLimited),
        (500, errors.Unavailable),
        (502, errors.Unavailable),
        (503, errors.Unavailable),
        (504, errors.Unavailable),
    ],
)
async def test_each_status_has_its_error(status: int, error: type[errors.ClientError]) -> None:
    async with scripted(always(lambda: failure(status, "because"))) as api:
        with pytest.raises(errors.ClientError) as caught:
            await api.client.read(SERVICE_ACCOUNT, "team-a", "reader")
    assert type(caught.value) is error
    assert str(caught.value) == (
        f"API server: GET /api/v1/namespaces/team-a/serviceaccounts/reader: {status} because"
    )


async def test_a_message_of_the_api_server_is_cut() -> None:
    async with scripted(always(lambda: failure(422, "x" * 5000))) as api:
        with pytest.raises(errors.Rejected) as caught:
            await api.client.read(SERVICE_ACCOUNT, "team-a", "reader")
    assert str(caught.value).count("x") == 256


async def test_a_failure_without_a_status_object_passes_nothing_of_its_body_on() -> None:
    async with scripted(always(lambda: web.Response(status=502, text="<html>proxy"))) as api:
        with pytest.raises(errors.Unavailable) as caught:
            await api.client.read(SERVICE_ACCOUNT, "team-a", "reader")
    assert "html" not in str(caught.value)


GARBAGE: dict[str, Callable[[], web.Response]] = {
    "html": lambda: web.Response(text="<html>log in first</html>", content_type="text/html"),
    "nothing": web.Response,
    "a list": lambda: web.json_response([1]),
    "null": lambda: web.json_response(None),
    "half": lambda: web.Response(text='{"items": [', content_type="application/json"),
}


@pytest.mark.parametrize("kind", GARBAGE)
async def test_an_answer_that_is_no_object_is_a_failure_and_never_an_empty_list(kind: str) -> None:
    """An audit would take an empty list at its word, and forget every object."""
    async with scripted(always(GARBAGE[kind])) as api:
        with pytest.raises(errors.Unavailable, match="200 with no JSON object"):
            await names(api.client)
        with pytest.raises(errors.Unavailable):
            await api.client.read(SERVICE_ACCOUNT, "team-a", "reader")


async def test_a_list_without_items_is_a_failure() -> None:
    async with scripted(always(lambda: reply(kind="Status", status="Success"))) as api:
        with pytest.raises(errors.Unavailable, match="no list"):
            await names(api.client)


async def test_an_answer_cut_short_is_unavailable() -> None:
    async def cut(request: Seen) -> web.StreamResponse:  # noqa: ARG001  # the protocol
        return _Cut(headers={"Content-Length": "100", "Content-Type": "application/json"})

    async with scripted(cut) as api:
        with pytest.raises(errors.Unavailable, match="ClientPayloadError"):
            await api.client.read(SERVICE_ACCOUNT, "team-a", "reader")


class _Cut(web.StreamResponse):
    """Promises more than it sends."""

    async def write_eof(self, data: bytes = b"") -> None:
        await self.write(data or b"{")
        assert self._req is not None
        transport = self._req.transport
        assert transport is not None
        transport.abort()


async def test_a_refused_connection_is_unavailable() -> None:
    async with connected(f"http://127.0.0.1:{closed_port()}", token=TOKEN) as client:
        with pytest.raises(errors.Unavailable, match="ClientConnectorError"):
            await client.read(SERVICE_ACCOUNT, "team-a", "reader")


async def test_an_answer_that_does_not_come_is_unavailable() -> None:
    async with stalled(timeout_seconds=0.05) as client:
        with pytest.raises(errors.Unavailable, match="Timeout"):
            await client.read(SERVICE_ACCOUNT, "team-a", "reader")


async def test_a_status_is_applied_by_our_manager_with_force() -> None:
    async with scripted(always(reply)) as api:
        await api.client.apply_status(BINDING, BODY)
    (request,) = api.seen
    collection = "/apis/caios.coreweave.com/v1alpha1/namespaces/team-a/federatedstoragebindings"
    assert api.asked == [f"PATCH {collection}/reader/status"]
    assert request.query == {"fieldManager": "caios-federation", "force": "true"}
    assert request.headers["Content-Type"].startswith("application/apply-patch+yaml")
    kinds = {"apiVersion": "caios.coreweave.com/v1alpha1", "kind": "FederatedStorageBinding"}
    assert request.json == {**kinds, **BODY}


async def test_a_cluster_scoped_object_is_applied_without_a_namespace() -> None:
    async with scripted(always(reply)) as api:
        await api.client.apply(FEDERATION, {"metadata": {"name": "default"}})
    assert api.asked == ["PATCH /apis/caios.coreweave.com/v1alpha1/storagefederations/default"]


async def test_text_is_applied_as_a_yaml_reader_takes_it() -> None:
    text = "🪣 \x7f \x85 \u2028 \ufeff \uffff \n"
    async with scripted(always(reply)) as api:
        await api.client.apply(FEDERATION, {"metadata": {"name": "default"}, "text": text})
    (request,) = api.seen
    sent = request.body.decode()
    assert "🪣" in sent
    assert not set("\x7f\x85\u2028\ufeff\uffff").intersection(sent)
    assert yaml.safe_load(sent)["text"] == json.loads(sent)["text"] == text


async def test_an_object_is_created_in_our_name() -> None:
    async with scripted(always(lambda: web.json_response({"metadata": {}}, status=201))) as api:
        await api.client.create(EVENT, {"metadata": {"namespace": "team-a"}, "reason": "Conflict"})
    (request,) = api.seen
    assert api.asked == ["POST /api/v1/namespaces/team-a/events"]
    assert request.query == {"fieldManager": "caios-federation"}
    assert request.json["kind"] == "Event"


async def test_a_name_that_is_taken_is_a_conflict() -> None:
    async with scripted(always(lambda: failure(409, "already exists"))) as api:
        with pytest.raises(errors.WriteConflict):
            await api.client.create(BINDING, BODY)


async def test_a_creation_that_is_only_tried_tells_the_warnings() -> None:
    warnings = ('299 - "say \\"no\\""', '299 apiserver "b"', "nonsense")

    async def answer(_request: Seen) -> web.StreamResponse:
        response = reply(kind="Pod")
        for text in warnings:
            response.headers.add("Warning", text)
        return response

    async with scripted(answer) as api:
        stored, told = await api.client.try_create(POD, {"metadata": {"namespace": "team-a"}})
    (seen,) = api.seen
    assert (seen.method, seen.path) == ("POST", "/api/v1/namespaces/team-a/pods")
    assert seen.query == {"fieldManager": "caios-federation", "dryRun": "All"}
    assert (stored["kind"], told) == ("Pod", ('say "no"', "b"))


async def test_a_deletion_names_the_uid_that_it_means() -> None:
    async with scripted(always(reply)) as api:
        await api.client.delete(BINDING, "team-a", "reader", uid="uid-1")
    assert api.seen[0].json == {"preconditions": {"uid": "uid-1"}}


@pytest.mark.parametrize("status", [404, 409])
async def test_a_deletion_of_what_is_gone_or_another_by_now_is_done(status: int) -> None:
    async with scripted(always(lambda: failure(status))) as api:
        await api.client.delete(BINDING, "team-a", "reader", uid="uid-1")
    assert len(api.seen) == 1


async def test_a_deletion_that_is_forbidden_is_told() -> None:
    async with scripted(always(lambda: failure(403, "no"))) as api:
        with pytest.raises(errors.PermissionDenied):
            await api.client.delete(BINDING, "team-a", "reader", uid="uid-1")


async def test_a_name_never_leaves_its_place_in_the_path() -> None:
    async with scripted(always(reply)) as api:
        await api.client.read(SERVICE_ACCOUNT, "team-a", "../x?y=1#z/%2e")
    assert api.seen[0].query == {}
    assert api.seen[0].path == "/api/v1/namespaces/team-a/serviceaccounts/../x?y=1#z/%2e"


async def test_the_issuer_is_discovered() -> None:
    async with scripted(always(lambda: reply(issuer="https://oidc.example/id/1"))) as api:
        assert await api.client.discover_issuer() == "https://oidc.example/id/1"
    assert api.asked == ["GET /.well-known/openid-configuration"]


@pytest.mark.parametrize("document", [{}, {"issuer": 5}, {"issuer": "http://elsewhere"}])
async def test_a_discovery_document_without_a_usable_issuer_is_rejected(
    document: dict[str, Any],
) -> None:
    async with scripted(always(lambda: reply(**document))) as api:
        with pytest.raises(errors.Rejected, match="discovery document"):
            await api.client.discover_issuer()


async def test_whether_a_kind_is_served_is_asked_with_one_object() -> None:
    async with scripted(in_turn(page, lambda: failure(404), lambda: failure(503))) as api:
        assert await api.client.served(BINDING)
        assert not await api.client.served(BINDING)
        with pytest.raises(errors.Unavailable):
            await api.client.served(BINDING)
    assert [request.query for request in api.seen] == [{"limit": "1"}] * 3


async def test_the_api_server_is_reached_through_the_proxy_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scripted(always(page)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        async with by_kubeconfig("http://cluster.example", TOKEN, tmp_path) as client:
            assert await names(client) == []
    (request,) = proxy.seen
    assert request.headers["Host"] == "cluster.example"


async def test_a_kubeconfig_says_where_and_as_whom(tmp_path: Path) -> None:
    async with scripted(always(page)) as api, by_kubeconfig(api.url, TOKEN, tmp_path) as client:
        assert await names(client) == []
    (request,) = api.seen
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.headers["User-Agent"] == "caios-federation"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 429, 500])
async def test_no_error_shows_the_token(status: int) -> None:
    async with scripted(always(lambda: failure(status, "because")), token=TOKEN) as api:
        with pytest.raises(errors.ClientError) as caught:
            await api.client.read(SERVICE_ACCOUNT, "team-a", "reader")
    assert api.seen[0].headers["Authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in "".join(texts_of(caught.value))


@pytest.mark.parametrize("kind", GARBAGE)
async def test_no_error_about_garbage_shows_the_token(kind: str) -> None:
    async with scripted(always(GARBAGE[kind]), token=TOKEN) as api:
        with pytest.raises(errors.ClientError) as caught:
            await names(api.client)
    assert TOKEN not in "".join(texts_of(caught.value))


async def test_no_error_of_a_broken_connection_shows_the_token() -> None:
    async with connected(f"http://127.0.0.1:{closed_port()}", token=TOKEN) as client:
        with pytest.raises(errors.ClientError) as caught:
            await client.read(SERVICE_ACCOUNT, "team-a", "reader")
    async with stalled(timeout_seconds=0.05) as client:
        with pytest.raises(errors.ClientError) as late:
            await client.read(SERVICE_ACCOUNT, "team-a", "reader")
    assert TOKEN not in "".join(texts_of(caught.value) + texts_of(late.value))


def texts_of(error: BaseException | None) -> list[str]:
    """Return what an error and those behind it say."""
    texts = []
    while error is not None:
        texts += [str(error), repr(error)]
        error = error.__cause__ or error.__context__
    return texts


def closed_port() -> int:
    """Return a port of loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def stalled(timeout_seconds: float = 10) -> Any:  # noqa: ANN401  # an async iterator of clients
    """Yield a client of an API server that takes requests and never answers."""
    over = asyncio.Event()

    async def wait(_request: Seen) -> web.StreamResponse:
        await over.wait()
        return reply()

    answer: Answer = wait
    async with scripted(answer, token=TOKEN, timeout_seconds=timeout_seconds) as api:
        try:
            yield api.client
        finally:
            over.set()
