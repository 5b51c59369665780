"""What acts for a term sends nothing once it is over, and what it gave up is known."""

import asyncio

import pytest

from caios_federation.clients import fence
from caios_federation.clients.fence import Term
from virtual_time import VirtualLoop


@pytest.fixture
def loop() -> VirtualLoop:
    return VirtualLoop()


async def send(*, writes: bool = True, seconds: float = 0) -> str:
    with fence.sending(writes=writes):
        await asyncio.sleep(seconds)
    return "sent"


def test_what_belongs_to_no_term_is_sent(loop: VirtualLoop) -> None:
    assert loop.run(send()) == "sent"
    loop.close()


def test_a_term_is_sent_for_until_it_is_over(loop: VirtualLoop) -> None:
    term = Term(10, loop.time)

    async def act() -> None:
        fence.act_for(term)
        assert await send(seconds=9) == "sent"
        assert term.extend(20)
        assert await send(seconds=9) == "sent"
        await asyncio.sleep(5)
        assert term.over
        assert not term.extend(99)
        await send()

    with pytest.raises(asyncio.CancelledError):
        loop.run(act())
    assert not term.cut  # nothing was sent that could come about
    loop.close()


def test_all_that_a_term_starts_belongs_to_it(loop: VirtualLoop) -> None:
    term = Term(10, loop.time)

    async def act() -> None:
        fence.act_for(term)
        later = asyncio.create_task(send(seconds=1))
        assert await later == "sent"
        term.end()
        (refused,) = await asyncio.gather(asyncio.create_task(send()), return_exceptions=True)
        assert isinstance(refused, asyncio.CancelledError)

    async def beside() -> str:
        await asyncio.create_task(act())
        return await send()

    assert loop.run(beside()) == "sent"
    loop.close()


@pytest.mark.parametrize("writes", [True, False])
def test_a_write_that_is_given_up_is_noted_and_a_read_is_not(
    loop: VirtualLoop, *, writes: bool
) -> None:
    term = Term(10, loop.time)

    async def act() -> None:
        fence.act_for(term)
        await send(writes=writes, seconds=5)

    async def give_up() -> None:
        task = asyncio.create_task(act())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])

    loop.run(give_up())
    assert term.cut is writes
    loop.close()
