"""What is asked again and what is not, counted by the emulator, which does as it is told."""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
import stamina
from aiohttp import web
from pydantic import SecretStr

from caios_federation.clients import errors
from component.clients.api_server import always, in_turn
from component.clients.coreweave import CALLS, Client, client, everything_logged, scripted
from component.coreweave.world import World, organization, token

CREATE, MINT = "CreateOIDCConfig", "CreateAccessKeyFromContainerCreds"
ATTEMPTS = 3
CLASSES = {
    302: errors.Rejected,
    400: errors.BadRequest,
    401: errors.Unauthenticated,
    403: errors.PermissionDenied,
    404: errors.NotFound,
    409: errors.WriteConflict,
    418: errors.Rejected,
    429: errors.RateLimited,
    500: errors.Unavailable,
    501: errors.Unavailable,
    502: errors.Unavailable,
    503: errors.Unavailable,
    504: errors.Unavailable,
}
ENSURE, DELETE = "EnsureAccessPolicy", "DeleteAccessPolicy"
AGAIN = {
    CREATE: {429, 503},
    MINT: {429, 503, 504},
    ENSURE: {429, 500, 503},
    DELETE: {429, 500, 503},
}
"""Statuses after which a request is sent again."""
ELSEWHERE = {429, 500, 502, 503, 504}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with organization(tmp_path_factory.mktemp("emulator")) as world:
        yield world


@pytest.fixture
def world(emulator: World) -> World:
    """Give an emulator that forgot what was before."""
    assert emulator.call("POST", "/testbed/reset").status == 200
    return emulator


def times(operation: str, status: int) -> int:
    """Return how often an operation is tried that always gets `status`."""
    if (operation, status) == (MINT, 400):
        return 2  # a rotation of tokens may be under way
    return ATTEMPTS if status in AGAIN.get(operation, ELSEWHERE) else 1


async def failing(it: Client, operation: str) -> errors.ClientError | None:
    """Return what an operation raises."""
    try:
        await CALLS[operation](it, SecretStr(token()))
    except errors.ClientError as error:
        return error
    return None


@contextmanager
def waits(begun: Callable[[], None] = lambda: None) -> Iterator[list[float]]:
    """Collect the seconds that are waited between tries, of clients connected before.

    `begun` is called as each wait begins.
    """
    found: list[float] = []
    stamina.instrumentation.set_on_retry_hooks(
        [lambda details: found.append(details.wait_for), lambda _: begun()]
    )
    yield found
    stamina.instrumentation.set_on_retry_hooks([])


def asked(world: World, operation: str) -> int:
    return len(world.requests(operation=operation))


@pytest.mark.parametrize("operation", CALLS)
async def test_each_operation_is_repeated_as_often_as_it_may(world: World, operation: str) -> None:
    asked_in_all, counts = 0, {}
    async with client(world.emulator.url, world.emulator.api_token, attempts=ATTEMPTS) as it:
        for status in CLASSES:
            world.inject({"operation": operation, "status": status})
            await failing(it, operation)
            counts[status] = asked(world, operation) - asked_in_all
            asked_in_all += counts[status]
    assert counts == {status: times(operation, status) for status in CLASSES}


@pytest.mark.parametrize("operation", CALLS)
async def test_each_status_has_an_error_of_its_own(world: World, operation: str) -> None:
    found: dict[int, object] = {}
    async with client(world.emulator.url, world.emulator.api_token, attempts=1) as it:
        for status in CLASSES:
            world.inject({"operation": operation, "status": status})
            error = await failing(it, operation)
            found[status] = type(error)
            assert error is None or str(error).startswith(f"CoreWeave API: {operation}: {status}")
    expected: dict[int, object] = {**CLASSES}
    if operation == "DeleteAccessPolicy":
        expected[404] = type(None)  # gone is done
    if "OIDCConfig" in operation:
        expected[501] = errors.NotFound  # the Console has it
    assert found == expected


@pytest.mark.parametrize("operation", CALLS)
async def test_no_operation_is_tried_more_often_than_the_settings_allow(
    world: World, operation: str
) -> None:
    world.inject({"operation": operation, "status": 503})
    async with client(world.emulator.url, world.emulator.api_token, attempts=1) as it:
        assert type(await failing(it, operation)) is errors.Unavailable
    assert asked(world, operation) == 1


@pytest.mark.parametrize("operation", CALLS)
async def test_a_dropped_connection_is_tried_again_where_that_changes_nothing(
    world: World, operation: str
) -> None:
    world.inject({"operation": operation, "dropConnection": True})
    async with client(world.emulator.url, world.emulator.api_token, attempts=ATTEMPTS) as it:
        error = await failing(it, operation)
    assert type(error) is errors.Unavailable
    assert str(error) == f"CoreWeave API: {operation}: the connection broke"
    assert asked(world, operation) == (1 if operation in {*AGAIN} else ATTEMPTS)


@pytest.mark.parametrize("operation", [ENSURE, DELETE])
@pytest.mark.parametrize(
    ("fault", "unanswered"),
    [
        ({"dropConnection": True}, True),
        ({"latencySeconds": 2}, True),
        ({"status": 502}, True),
        ({"status": 504}, True),
        ({"status": 500}, False),
        ({"status": 503}, False),
        ({"status": 503, "body": "garbage"}, True),
        ({"status": 503, "body": "empty"}, True),
    ],
    ids=str,
)
async def test_whether_a_write_may_still_come_about_is_told(
    world: World, operation: str, fault: dict[str, object], *, unanswered: bool
) -> None:
    world.inject({"operation": operation, **fault})
    emulator = world.emulator
    async with client(emulator.url, emulator.api_token, attempts=1, timeout_seconds=0.5) as it:
        error = await failing(it, operation)
    assert isinstance(error, errors.Unavailable)
    assert error.unanswered is unanswered


@pytest.mark.parametrize("operation", CALLS)
async def test_a_503_of_a_gateway_is_tried_again_where_that_changes_nothing(
    world: World, operation: str
) -> None:
    """The service's own says that it did nothing; a gateway may have passed the request on."""
    world.inject({"operation": operation, "status": 503, "body": "garbage"})
    async with client(world.emulator.url, world.emulator.api_token, attempts=ATTEMPTS) as it:
        assert type(await failing(it, operation)) is errors.Unavailable
    assert asked(world, operation) == (1 if operation in {CREATE, ENSURE, DELETE} else ATTEMPTS)


@pytest.mark.parametrize(
    ("body", "unanswered"),
    [
        ({"code": 14, "message": "shutting down", "details": []}, False),
        ({"code": "unavailable", "message": "shutting down"}, False),
        (
            {"code": 503, "message": "upstream connect error or disconnect/reset before headers"},
            True,
        ),
        ({"message": "Service Unavailable"}, True),
        ({"code": [14]}, True),
    ],
    ids=str,
)
async def test_a_503_is_the_services_own_by_its_code(
    body: dict[str, object], *, unanswered: bool
) -> None:
    async with scripted(always(lambda: web.json_response(body, status=503)), attempts=1) as (it, _):
        error = await failing(it, ENSURE)
    assert isinstance(error, errors.Unavailable)
    assert error.unanswered is unanswered


async def test_a_write_that_was_never_sent_does_not_come_about() -> None:
    async with client("http://127.0.0.1:1", "token", attempts=1) as it:
        error = await failing(it, ENSURE)
    assert isinstance(error, errors.Unavailable)
    assert not error.unanswered


@pytest.mark.parametrize("operation", CALLS)
async def test_an_answer_that_takes_too_long_is_neither_waited_for_nor_asked_for_again(
    world: World, operation: str
) -> None:
    world.inject({"operation": operation, "latencySeconds": 60})
    impatient = {"attempts": ATTEMPTS, "timeout_seconds": 0.05}
    async with client(world.emulator.url, world.emulator.api_token, **impatient) as it:
        with waits() as found:
            error = await failing(it, operation)
    assert type(error) is errors.Unavailable
    assert str(error) == f"CoreWeave API: {operation}: no answer within coreweave.timeout_seconds"
    assert found == []


@pytest.mark.parametrize("operation", CALLS)
async def test_a_refused_connection_is_tried_again_by_everybody(operation: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as reserved:
        port = reserved.getsockname()[1]
    async with client(f"http://127.0.0.1:{port}", attempts=ATTEMPTS) as it:
        with waits() as found:
            error = await failing(it, operation)
    assert type(error) is errors.Unavailable
    assert str(error) == f"CoreWeave API: {operation}: no connection"
    assert len(found) == ATTEMPTS - 1


async def test_trouble_that_passes_is_not_noticed(world: World) -> None:
    world.inject(
        {"status": 503, "count": 1},
        {"dropConnection": True, "count": 1},
        {"status": 500, "count": 1},
    )
    async with client(world.emulator.url, world.emulator.api_token, attempts=4) as it:
        assert await it.api.policies() == {}
    assert asked(world, "ListAccessPolicies") == 4


async def test_what_is_tried_again_is_not_talked_about(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    stamina.instrumentation.set_on_retry_hooks(None)  # as if nobody had ever connected
    world.inject({"status": 503})
    with everything_logged() as lines:
        async with client(world.emulator.url, attempts=ATTEMPTS) as it:
            await failing(it, "WhoAmI")
    assert asked(world, "WhoAmI") == ATTEMPTS
    assert [line for line in lines if "stamina" in line] == []
    assert capsys.readouterr().out == ""


async def test_a_400_in_a_rotation_of_tokens_is_not_noticed(world: World) -> None:
    world.trust()
    world.grant("cwobject:CreateAccessKeyOIDC")
    world.inject({"operation": MINT, "status": 400, "count": 1})
    async with client(world.emulator.url) as it:
        assert await failing(it, MINT) is None
    assert asked(world, MINT) == 2


async def test_a_400_is_looked_at_twice_and_not_more_often(world: World) -> None:
    world.inject(
        {"operation": MINT, "status": 400, "count": 1},
        {"operation": MINT, "status": 503, "count": 1},
        {"operation": MINT, "status": 400},
    )
    async with client(world.emulator.url, attempts=10) as it:
        assert type(await failing(it, MINT)) is errors.BadRequest
    assert asked(world, MINT) == 3


@pytest.mark.parametrize("status", [429, 503])
async def test_a_short_retry_after_is_what_is_waited(status: int) -> None:
    def busy() -> web.Response:
        return web.json_response({}, status=status, headers={"Retry-After": "0.007"})

    answers = in_turn(busy, busy, lambda: web.json_response({"policies": []}))
    async with scripted(answers, longest_retry_seconds=0.01) as (it, _):
        with waits() as found:
            assert await it.api.policies() == {}
    assert found == [0.007, 0.007]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_long_retry_after_is_left_to_the_queue(world: World, status: int) -> None:
    world.inject({"status": status, "retryAfterSeconds": 7})
    async with client(world.emulator.url, world.emulator.api_token, longest_retry_seconds=5) as it:
        error = await failing(it, "WhoAmI")
    assert isinstance(error, errors.RateLimited | errors.Unavailable)
    assert error.retry_after_seconds == 7
    assert asked(world, "WhoAmI") == 1


async def test_a_retry_after_that_did_not_help_is_passed_on(world: World) -> None:
    world.inject({"status": 429, "retryAfterSeconds": 0})
    async with client(world.emulator.url, world.emulator.api_token, attempts=ATTEMPTS) as it:
        error = await failing(it, "WhoAmI")
    assert isinstance(error, errors.RateLimited)
    assert error.retry_after_seconds == 0
    assert asked(world, "WhoAmI") == ATTEMPTS


async def test_without_a_retry_after_the_queue_waits_as_it_likes(world: World) -> None:
    world.inject({"status": 503})
    async with client(world.emulator.url, world.emulator.api_token) as it:
        error = await failing(it, "WhoAmI")
    assert isinstance(error, errors.Unavailable)
    assert error.retry_after_seconds is None
