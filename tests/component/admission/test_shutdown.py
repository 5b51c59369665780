"""How the server ends: readiness first, then a while of serving, then a drain (checklist 4.12)."""

import asyncio
import socket
from pathlib import Path

import orjson
import pytest
import structlog
from aiohttp import ClientError

from component.admission.serving import (
    DEADLINE_SECONDS,
    LONG,
    Dispatch,
    Held,
    Serving,
    connection,
    review,
    serving,
    soon,
    until,
)


async def until_unready(here: Serving) -> None:
    async def unready() -> bool:
        return await here.ready() == 503

    await until(unready)


async def until_closed(here: Serving) -> None:
    async def closed() -> bool:
        return not await here.is_open()

    await until(closed)


async def test_readiness_goes_first_and_serving_goes_on(tmp_path: Path) -> None:
    async with serving(tmp_path, lame_duck_seconds=LONG) as here:
        assert await here.ready() == 200
        here.task.cancel()
        await until_unready(here)
        for _ in range(3):
            assert "patch" in (await here.review())["response"]
        assert here.server.listening.is_set()
        assert not here.task.done()


async def test_each_answer_ends_its_connection_while_it_drains(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, lame_duck_seconds=LONG) as here,
        connection(here.port) as kept,
        connection(here.port) as late,
    ):
        await kept.start(orjson.dumps(review()))
        assert await kept.answer() == 200
        here.task.cancel()
        await until_unready(here)
        # Both are answered: the one that was idle, and the one that had sent nothing yet.
        for each in (kept, late):
            await each.start(orjson.dumps(review()))
            head = await soon(each.reader.readuntil(b"\r\n\r\n"))
            assert head.startswith(b"HTTP/1.1 200")
            assert b"connection: close" in head.lower()
            assert (await soon(each.reader.read())).endswith(b"}")


async def test_a_connection_of_the_last_moment_is_served_after_the_port_is_closed(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, lame_duck_seconds=0.5) as here, connection(here.port) as late:
        here.task.cancel()
        await until_closed(here)
        await late.start(orjson.dumps(review()))
        assert await late.answer() == 200
        await soon(asyncio.wait([here.task]))


async def test_a_connection_in_use_is_kept_until_then(tmp_path: Path) -> None:
    async with serving(tmp_path) as here, connection(here.port) as kept:
        for _ in range(3):
            await kept.start(orjson.dumps(review()))
            assert await kept.answer() == 200


async def test_clients_lose_no_request_while_a_server_drains(tmp_path: Path) -> None:
    """As Go's do, they use a connection until they are told not to, and repeat nothing."""
    async with serving(tmp_path, lame_duck_seconds=1) as here:
        answered = 0

        async def client() -> None:
            nonlocal answered
            while not here.task.cancelling():
                async with connection(here.port) as opened:
                    ended = False
                    while not ended:
                        await opened.start(orjson.dumps(review()))
                        head = (await soon(opened.reader.readuntil(b"\r\n\r\n"))).lower()
                        assert head.startswith(b"http/1.1 200")
                        answered += 1
                        ended = b"connection: close" in head
                        length = int(head.partition(b"content-length: ")[2].split()[0])
                        await soon(opened.reader.readexactly(length))

        clients = [asyncio.create_task(client()) for _ in range(8)]
        async with asyncio.timeout(DEADLINE_SECONDS):
            while answered < 100:  # noqa: ASYNC110  # requests give no event
                await asyncio.sleep(0.01)
            await here.stop()
            await asyncio.gather(*clients)


async def test_the_port_is_closed_after_the_lame_duck_time(tmp_path: Path) -> None:
    async with serving(tmp_path, lame_duck_seconds=0.05) as here:
        await here.stop()
        assert here.task.cancelled()
        assert not here.server.listening.is_set()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", here.port)


async def test_the_end_is_told_step_by_step(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as lines:
        async with serving(tmp_path) as here:
            await here.stop()
    assert [line["event"] for line in lines] == [
        "certificate loaded",
        "admission serving",
        "admission draining",
        "admission stopped",
    ]


async def test_a_second_cancellation_cuts_the_lame_duck_time_short_and_still_drains(
    tmp_path: Path,
) -> None:
    held = Held()
    async with serving(
        tmp_path, Dispatch(held), lame_duck_seconds=LONG, drain_seconds=LONG, deadline_seconds=LONG
    ) as here:
        waiting = asyncio.create_task(here.review())
        await soon(held.asked.wait())
        here.task.cancel()
        await until_unready(here)
        here.task.cancel()
        await until_closed(here)
        held.released.set()
        assert "patch" in (await soon(waiting))["response"]
        await soon(asyncio.wait([here.task]))
        assert not here.server.listening.is_set()


async def test_a_request_in_flight_ends_well(tmp_path: Path) -> None:
    held = Held()
    async with serving(tmp_path, Dispatch(held), deadline_seconds=LONG) as here:
        waiting = asyncio.create_task(here.review())
        await soon(held.asked.wait())
        here.task.cancel()
        await until_closed(here)
        assert not waiting.done()
        held.released.set()
        assert "patch" in (await soon(waiting))["response"]
        await soon(asyncio.wait([here.task]))


async def test_a_request_that_outlasts_the_drain_is_cut(tmp_path: Path) -> None:
    held = Held()
    async with serving(tmp_path, Dispatch(held), deadline_seconds=LONG, drain_seconds=0.05) as here:
        waiting = asyncio.create_task(here.review())
        await soon(held.asked.wait())
        await here.stop()
        with pytest.raises(ClientError):
            await soon(waiting)


async def test_an_idle_connection_holds_nothing_up(tmp_path: Path) -> None:
    async with serving(tmp_path, drain_seconds=LONG) as here, connection(here.port) as idle:
        await idle.start(orjson.dumps(review()))
        assert await idle.answer() == 200
        await here.stop()
        assert await soon(idle.reader.read()) == b""


async def test_a_client_that_never_ends_its_request_is_cut_after_the_drain(tmp_path: Path) -> None:
    async with serving(tmp_path, drain_seconds=0.05) as here, connection(here.port) as stuck:
        await stuck.start(b"{", length=100)
        assert await here.ready() == 200
        await here.stop()
        assert here.task.cancelled()


async def test_a_server_that_still_waits_for_the_caches_ends_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path, synced=False, lame_duck_seconds=LONG) as here:
        await asyncio.sleep(0)
        await here.stop()
        assert here.task.cancelled()


async def test_a_server_that_still_waits_for_a_certificate_ends_at_once(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as lines:
        async with serving(tmp_path, listening=False, lame_duck_seconds=LONG) as here:

            async def looked() -> bool:
                return bool(lines)

            await until(looked)
            await here.stop()
            assert here.task.cancelled()


async def test_a_port_that_is_taken_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        # The port is chosen in there; this is the only way to take it before the server does.
        monkeypatch.setattr(
            "component.admission.serving.free_ports", lambda _: [taken.getsockname()[1]]
        )
        async with serving(tmp_path, synced=False, lame_duck_seconds=LONG) as here:
            here.synced.set()
            (result,) = await soon(asyncio.gather(here.task, return_exceptions=True))
    assert isinstance(result, OSError)
    assert "in use" in str(result)
