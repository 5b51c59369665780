"""What the client makes of answers: documented ones in all their forms, and nonsense."""

import asyncio
import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

import strategies
from caios_federation.clients.errors import ClientError, Malformed, NotFound
from caios_federation.core.trust import OIDCConfiguration
from component.clients.api_server import always, in_turn
from component.clients.coreweave import (
    API_TOKEN,
    CALLS,
    CONFIGURATION,
    POLICY,
    Client,
    client,
    owner_of,
    scripted,
)

JWT = SecretStr("e30.e30.e30")
CREDENTIALS = {
    "AccessKeyId": "CW0123456789ABCD",
    "SecretAccessKey": "cwo",
    "Token": "",
    "Expiration": "2026-01-23T19:03:47Z",
}
CAMEL = {
    "uid": "u-1",
    "name": "cluster",
    "issuerUrl": "https://oidc.example/id/1",
    "audience": "aud",
}
SNAKE = {
    "uid": "u-1",
    "name": "cluster",
    "issuer_url": "https://oidc.example/id/1",
    "audience": "aud",
}
OFF = OIDCConfiguration("u-1", "cluster", "https://oidc.example/id/1", "aud", active=False)
LISTS = ("ListAccessPolicies", "ListOIDCConfigs")


def reply(body: object, status: int = 200) -> Callable[[], web.Response]:
    """Return a maker of JSON answers."""
    return lambda: web.json_response(body, status=status)


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, []),
        ({"policies": None}, []),
        ({"policies": []}, []),
        ({"policies": [POLICY]}, [POLICY["name"]]),
        ({"policies": [{"policy": POLICY}]}, [POLICY["name"]]),
        ({"policies": [{"policy": POLICY, "etag": 1}], "unknown": {}}, [POLICY["name"]]),
        ({"policies": [{**POLICY, "createdAt": "2026-01-23T19:03:47Z"}]}, [POLICY["name"]]),
    ],
)
async def test_both_forms_of_the_list_of_policies_are_read(
    body: dict[str, Any], names: list[str]
) -> None:
    async with scripted(always(reply(body))) as (it, _):
        assert await it.api.policies() == dict.fromkeys(names, POLICY)


async def test_a_policy_without_statements_is_one_without_statements() -> None:
    body = {"policies": [{"name": "empty", "version": "v1alpha1"}]}
    async with scripted(always(reply(body))) as (it, _):
        assert (await it.api.policies())["empty"]["statements"] == []


@pytest.mark.parametrize(
    "entry",
    [
        None,
        "name",
        [],
        {},
        {"policy": "name"},
        {"policy": {}},
        {"name": ""},
        {"name": 1, "statements": []},
        {"name": "a", "version": 1},
        {"name": "a", "statements": "all"},
        {"name": "a", "statements": ["all"]},
    ],
)
async def test_one_policy_that_cannot_be_read_makes_the_list_unreadable(entry: object) -> None:
    # As a shorter list it would have us write, and later remove, what is there.
    async with scripted(always(reply({"policies": [POLICY, entry]}))) as (it, _):
        with pytest.raises(Malformed, match="ListAccessPolicies"):
            await it.api.policies()


@pytest.mark.parametrize(
    ("entry", "configuration"),
    [
        (CAMEL, CONFIGURATION),
        (SNAKE, CONFIGURATION),
        ({**CAMEL, "orgUid": "o", "unknown": [], "deactivatedAt": None}, CONFIGURATION),
        ({**CAMEL, "deactivatedAt": "2026-01-23T19:03:47Z"}, OFF),
        ({**SNAKE, "deactivated_at": "2026-01-23T19:03:47Z"}, OFF),
        ({**CAMEL, "active": True, "deactivatedAt": "2026-01-23T19:03:47Z"}, OFF),
    ],
)
async def test_both_spellings_of_a_configuration_are_read(
    entry: dict[str, Any], configuration: OIDCConfiguration
) -> None:
    answers = in_turn(reply({"configs": [entry]}), reply({"config": entry}))
    async with scripted(answers) as (it, _):
        assert await it.api.oidc_configurations() == [configuration]
        assert await it.api.update_oidc_configuration(configuration) == configuration


@pytest.mark.parametrize(
    "entry",
    [None, "u-1", {}, {**CAMEL, "uid": ""}, {**CAMEL, "audience": 1}, {"uid": "u", "name": "n"}],
)
async def test_one_configuration_that_cannot_be_read_makes_the_list_unreadable(
    entry: object,
) -> None:
    async with scripted(always(reply({"configs": [CAMEL, entry], "config": entry}))) as (it, _):
        with pytest.raises(Malformed):
            await it.api.oidc_configurations()
        with pytest.raises(Malformed):
            await it.api.create_oidc_configuration("n", "https://i", "a", "d")
        with pytest.raises(Malformed):
            await it.api.update_oidc_configuration(CONFIGURATION)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, {"code": "unimplemented", "message": "no such method"}),
        (501, {"code": "unimplemented", "message": "no such method"}),
        (404, {"code": 5, "message": "Not Found"}),  # as the gateway answers for any path
        (404, "404 page not found"),
        (501, None),
    ],
)
async def test_an_api_that_has_no_configurations_leads_to_the_console(
    status: int, body: object
) -> None:
    async with scripted(always(reply(body, status))) as (it, seen):
        for operation in ("ListOIDCConfigs", "CreateOIDCConfig", "UpdateOIDCConfig"):
            with pytest.raises(NotFound, match="enter them in the Console"):
                await CALLS[operation](it, JWT)
    assert len(seen) == 3


@pytest.mark.parametrize(
    "body",
    [
        {"code": 7, "message": "permission denied", "details": []},
        {"code": "permission_denied", "message": "permission denied"},
    ],
)
async def test_both_envelopes_of_errors_are_read(body: dict[str, Any]) -> None:
    async with scripted(always(reply(body, 403))) as (it, _):
        for operation, call in CALLS.items():
            with pytest.raises(
                ClientError, match=f"^CoreWeave API: {operation}: 403 perm.* denied$"
            ):
                await call(it, JWT)


@pytest.mark.parametrize(
    "body", ["", "<html>", "[]", '"text"', '{"message": 1}', '{"message": ""}']
)
async def test_an_error_without_a_message_says_so(body: str) -> None:
    async with scripted(always(lambda: web.Response(text=body, status=403))) as (it, _):
        with pytest.raises(ClientError, match=r"^CoreWeave API: WhoAmI: 403 \(no message\)$"):
            await it.api.whoami()


async def test_what_is_sent_is_what_is_documented() -> None:
    answers = {
        "/v1beta1/auth/whoami": {"principal": {}},
        "/v1/cwobject/temporary-credentials/oidc/cw1234": CREDENTIALS,
    }

    async def answer(request: Any) -> web.StreamResponse:  # noqa: ANN401  # whatever is seen
        return web.json_response(answers.get(request.path, {"config": CAMEL}))

    async with scripted(answer) as (it, seen):
        for call in CALLS.values():
            await call(it, JWT)
    service = "/coreweave.workload_federation.control_plane.v1beta1.WFControlPlaneService"
    asked = [f"{request.method} {request.path}" for request in seen]
    assert asked == [
        "GET /v1beta1/auth/whoami",
        "GET /v1/cwobject/access-policy",
        "POST /v1/cwobject/access-policy",
        f"DELETE /v1/cwobject/access-policy/{POLICY['name']}",
        f"POST {service}/ListOIDCConfigs",
        f"POST {service}/CreateOIDCConfig",
        f"POST {service}/UpdateOIDCConfig",
        "GET /v1/cwobject/temporary-credentials/oidc/cw1234",
    ]
    authorizations = [request.headers["Authorization"] for request in seen]
    assert authorizations == [f"Bearer {API_TOKEN}"] * 7 + [JWT.get_secret_value()]
    versions = [request.headers.get("Connect-Protocol-Version") for request in seen]
    assert versions == [None] * 4 + ["1"] * 3 + [None]
    bodies = [json.loads(request.body) if request.body else None for request in seen]
    described = {"name": "c", "issuerUrl": "https://i", "audience": "a", "description": "d"}
    mask = "name,issuerUrl,audience,active"
    assert bodies == [
        None,
        None,
        {"policy": POLICY},
        None,
        {},
        {**described, "active": True},
        {**CAMEL, "active": True, "updateMask": mask},
        None,
    ]


@pytest.mark.parametrize("name", ["a/b", "../x", "..", "a?b#c", "%2e%2e"])
async def test_a_name_never_leads_to_another_path(name: str) -> None:
    async with scripted(always(reply({}))) as (it, seen):
        await it.api.delete_policy(name)
    ((head, tail),) = [request.path.rsplit("/", 1) for request in seen]
    assert head == "/v1/cwobject/access-policy"
    assert tail == name.replace("%", "%25").replace("/", "%2F").replace("?", "%3F").replace(
        "#", "%23"
    )


@pytest.mark.parametrize("operation", [name for name in CALLS if name != "DeleteAccessPolicy"])
@pytest.mark.parametrize("body", ["", "<html>", "[]", "null", "{", '{"a": "\ud800"}', "1" * 5000])
async def test_success_that_makes_no_sense_is_malformed(operation: str, body: str) -> None:
    content = body.encode("utf-8", "surrogatepass")
    async with scripted(always(lambda: web.Response(body=content))) as (it, seen):
        with pytest.raises(
            Malformed, match=f"^CoreWeave API: {operation}: 200 with no JSON object$"
        ):
            await CALLS[operation](it, JWT)
    assert len(seen) == 1


async def test_what_comes_packed_is_not_unpacked() -> None:
    # Bytes are bounded as they come; unpacked they could be a thousand times as many.
    packed = gzip.compress(b'{"principal": {}}')
    headers = {"Content-Encoding": "gzip"}
    async with scripted(always(lambda: web.Response(body=packed, headers=headers))) as (it, seen):
        with pytest.raises(Malformed, match="200 with no JSON object"):
            await it.api.whoami()
    assert seen[0].headers["Accept-Encoding"] == "identity"


async def test_no_content_is_success_without_content() -> None:
    async with scripted(always(lambda: web.Response(status=204))) as (it, _):
        await it.api.ensure_policy(POLICY)
        await it.api.delete_policy("a")


@pytest.mark.parametrize("operation", CALLS)
async def test_an_answer_is_not_read_without_end(operation: str) -> None:
    limit = (16 << 20) if operation in LISTS else (64 << 10)
    body = b'{"a": "' + b"x" * limit + b'"}'
    async with scripted(always(lambda: web.Response(body=body))) as (it, _):
        with pytest.raises(Malformed, match=f"an answer of more than {limit} bytes"):
            await CALLS[operation](it, JWT)


async def test_the_text_of_an_error_is_not_read_without_end() -> None:
    body = b'{"message": "' + b"x" * (64 << 10) + b'"}'
    async with scripted(always(lambda: web.Response(body=body, status=403))) as (it, _):
        with pytest.raises(ClientError, match=r"403 \(no message\)$"):
            await it.api.policies()


@pytest.mark.parametrize(
    ("expiration", "moment"),
    [
        ("2026-01-23T19:03:47Z", datetime(2026, 1, 23, 19, 3, 47, tzinfo=UTC)),
        ("2026-01-23T19:03:47.123456789Z", datetime(2026, 1, 23, 19, 3, 47, 123456, tzinfo=UTC)),
        ("2026-01-23T21:03:47+02:00", datetime(2026, 1, 23, 19, 3, 47, tzinfo=UTC)),
    ],
)
async def test_the_expiry_is_read_as_it_is_stated(expiration: str, moment: datetime) -> None:
    answer = {**CREDENTIALS, "Expiration": expiration, "attributes": {}, "unknown": 1}
    async with scripted(always(reply(answer))) as (it, _):
        assert await it.coreweave.exchange(it.credentials_uri, JWT) == moment


@pytest.mark.parametrize("expiration", ["2026-01-23T19:03:47", "", "soon", None, 1769195027])
async def test_an_expiry_that_names_no_moment_is_malformed(expiration: object) -> None:
    async with scripted(always(reply({**CREDENTIALS, "Expiration": expiration}))) as (it, _):
        with pytest.raises(Malformed, match="no credentials as SDKs read them"):
            await it.coreweave.exchange(it.credentials_uri, JWT)


async def test_connections_are_kept_and_shared_by_all_organizations() -> None:
    connections = set()

    async def handle(request: web.Request) -> web.Response:
        connections.add(request.transport)
        return web.json_response({"principal": {}})

    app = web.Application()
    app.router.add_get("/v1beta1/auth/whoami", handle)
    async with TestServer(app) as server, client(str(server.make_url(""))) as it:
        for number in range(5):
            owner = owner_of(f"CW-SECRET-{number}")
            await it.coreweave.organization(it.url, owner).whoami()
    assert len(connections) == 1


async def test_no_cookie_is_kept() -> None:
    answers = always(
        lambda: web.json_response({"principal": {}}, headers={"Set-Cookie": "session=1; Path=/"})
    )
    async with scripted(answers) as (it, seen):
        by_name = it.url.replace("127.0.0.1", "localhost")  # an address would get none anyway
        api = it.coreweave.organization(by_name, owner_of(API_TOKEN))
        await api.whoami()
        await api.whoami()
    assert ["Cookie" in request.headers for request in seen] == [False, False]


async def test_everything_that_is_asked_shares_one_rate() -> None:
    async with scripted(always(reply({"principal": {}})), requests_per_second=0.001) as (it, seen):
        other = it.coreweave.organization(it.url, owner_of("CW-SECRET-other"))
        asking = [asyncio.create_task(ask()) for ask in (it.api.whoami, other.whoami)]
        await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        assert [task.done() for task in asking] == [True, False]
        asking[1].cancel()
        await asyncio.wait(asking)
    assert len(seen) == 1


# The law: whatever comes back, nothing but our own errors comes out ----------------------------


@dataclass(slots=True)
class Nonsense:
    """A server that says any bytes and hangs up, and a client that asks it."""

    runner: asyncio.Runner
    it: Client
    says: list[bytes]

    def heard(self, operation: str, says: bytes) -> None:
        """Let the client hear `says`. Raises what the client raises, but for ClientErrors."""
        self.says[:] = [says]
        with suppress(ClientError):
            self.runner.run(self._asked(operation))

    async def _asked(self, operation: str) -> None:
        await CALLS[operation](self.it, JWT)


@pytest.fixture(scope="module")
def nonsense() -> Iterator[Nonsense]:
    says: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(says[0])
            await writer.drain()
        writer.close()

    async def start(stack: AsyncExitStack) -> Client:
        server = await stack.enter_async_context(await asyncio.start_server(talk, "127.0.0.1"))
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return await stack.enter_async_context(client(url, attempts=1))

    stack = AsyncExitStack()
    with asyncio.Runner() as runner:
        yield Nonsense(runner, runner.run(start(stack)), says)
        runner.run(stack.aclose())


operations = st.sampled_from([*CALLS])
heads = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        b"HTTP/1.1 204 No Content\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 ",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: //[\r\n",
        b"HTTP/1.1 999 \xff\r\nSet-Cookie: \xff=\x00\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n",
        b"HTTP/0.9 2",
    ]
)
keys = st.sampled_from(
    [
        *("policies", "policy", "name", "version", "statements"),
        *("configs", "config", "uid", "issuerUrl", "audience", "deactivatedAt", "principal"),
        *("code", "message", "details", "AccessKeyId", "SecretAccessKey", "Expiration"),
    ]
)
bodies = st.recursive(
    strategies.scalars | st.sampled_from(["2026-01-23T19:03:47Z", "unimplemented", "not_found"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=6),
)
retry_after = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40) | (
    st.sampled_from(["1e400", "nan", "-1", "9" * 400, "Fri, 31 Dec 99999 23:59:59 GMT"])
)


@given(operation=operations, head=st.just(b"") | heads, tail=st.binary(max_size=64))
def test_bytes_of_any_kind_raise_nothing_but_our_errors(
    nonsense: Nonsense, operation: str, head: bytes, tail: bytes
) -> None:
    nonsense.heard(operation, head + tail)
    nonsense.heard(operation, head + b"\r\n" + tail)


@given(
    operation=operations,
    status=st.sampled_from([200, 400, 404, 409, 429, 500, 503]) | st.integers(200, 999),
    body=bodies,
    pause=retry_after,
)
def test_json_of_any_shape_raises_nothing_but_our_errors(
    nonsense: Nonsense, operation: str, status: int, body: object, pause: str
) -> None:
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\nRetry-After: {pause}\r\nContent-Length: {len(content)}\r\n\r\n"
    nonsense.heard(operation, head.encode() + content)
