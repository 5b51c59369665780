"""The queue shares its event loop with admission."""

import asyncio

from caios_federation.reconcile.queue import Key, Queue
from caios_federation.settings import ReconcileSettings

BACKLOG = 2000


async def test_a_backlog_that_writes_nothing_leaves_every_other_turn_to_others() -> None:
    done, turns = 0, 0
    over = asyncio.Event()

    async def reconcile(_key: Key) -> None:
        nonlocal done
        done += 1
        if done == BACKLOG:
            over.set()

    async def others() -> None:
        nonlocal turns
        while not over.is_set():
            turns += 1
            await asyncio.sleep(0)

    queue = Queue(reconcile, ReconcileSettings(workers=8))
    keys = [Key("Kind", "team-a", f"name-{number}") for number in range(BACKLOG)]
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(queue.run(lambda: keys))
        await others()
        running.cancel()
    assert turns >= BACKLOG / 8, "the whole backlog was worked off in a few turns of the loop"
