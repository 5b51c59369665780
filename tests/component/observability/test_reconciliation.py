"""Reconciliations, as they are counted: what came of them, and what they changed."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import structlog

import builders
from caios_federation.caches import Caches
from caios_federation.clients import errors
from caios_federation.observe.metrics import RECONCILED, Metrics
from caios_federation.reconcile.queue import Key, Queue
from caios_federation.reconcile.triggers import everything
from caios_federation.settings import ReconcileSettings
from component.observability.scraping import Scrape, scrape
from component.reconcile.managed import NAME, granted, managed
from component.reconcile.test_runtime import until

KEY = Key("StorageFederation", "", "default")


def seen_of(metrics: Metrics) -> Scrape:
    return scrape(metrics.registry)


@asynccontextmanager
async def working(
    reconcile: Callable[[Key], Awaitable[float | None]], metrics: Metrics
) -> AsyncIterator[Queue]:
    """Run a queue that has nothing to do but what is added."""
    settings = ReconcileSettings(first_backoff_seconds=3600, longest_backoff_seconds=3600)
    queue = Queue(reconcile, settings, done=metrics.reconciled)
    with structlog.testing.capture_logs():
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(queue.run(list))
            yield queue
            running.cancel()


async def writes(metrics: Metrics) -> None:
    metrics.kubernetes_answered("patch", "storagefederations/status", 200)


async def writes_at_coreweave(metrics: Metrics) -> None:
    metrics.coreweave_answered("EnsureAccessPolicy", 200, 0.1)


async def reads(metrics: Metrics) -> None:
    metrics.kubernetes_answered("list", "pods", 200)
    metrics.coreweave_answered("ListAccessPolicies", 200, 0.1)
    metrics.kubernetes_answered("create", "serviceaccounts/token", 201)
    metrics.kubernetes_answered("create", "events", 201)


async def is_not_let_write(metrics: Metrics) -> None:
    metrics.kubernetes_answered("patch", "storagefederations/status", 409)


async def meets_trouble(_metrics: Metrics) -> None:
    raise errors.Unavailable("no answer")


async def is_refused(_metrics: Metrics) -> None:
    raise errors.PermissionDenied("no")


async def has_a_defect(_metrics: Metrics) -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("does", "result"),
    [
        (writes, "changed"),
        (writes_at_coreweave, "changed"),
        (reads, "unchanged"),
        (is_not_let_write, "unchanged"),
        (meets_trouble, "retry"),
        (is_refused, "failed"),
        (has_a_defect, "failed"),
    ],
)
async def test_a_reconciliation_is_counted_by_what_came_of_it(
    does: Callable[[Metrics], Awaitable[None]], result: str
) -> None:
    metrics = Metrics()

    async def reconcile(_key: Key) -> None:
        await does(metrics)

    async with working(reconcile, metrics) as queue:
        queue.add(KEY)
        await until(lambda: bool(seen_of(metrics).counted("reconcile_total")))
    seen = seen_of(metrics)
    assert seen.counted("reconcile_total") == {f"StorageFederation {result}": 1}
    assert seen("reconcile_duration_seconds_count", kind="StorageFederation") == 1


async def test_what_one_reconciliation_wrote_is_not_said_of_another() -> None:
    metrics = Metrics()

    async def reconcile(key: Key) -> None:
        if key.name == "a":
            await writes(metrics)
        await asyncio.sleep(0)

    async with working(reconcile, metrics) as queue:
        queue.add(*(Key("ServiceAccount", "n", name) for name in "abc"))
        await until(lambda: sum(seen_of(metrics).counted("reconcile_total").values()) == 3)
    assert seen_of(metrics).counted("reconcile_total") == {
        "ServiceAccount changed": 1,
        "ServiceAccount unchanged": 2,
    }


async def test_one_that_is_cancelled_came_to_nothing() -> None:
    metrics, begun = Metrics(), asyncio.Event()

    async def reconcile(_key: Key) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with working(reconcile, metrics) as queue:
        queue.add(KEY)
        await begun.wait()
    assert seen_of(metrics).counted("reconcile_total") == {}
    assert queue.oldest() == {}


async def test_the_queue_tells_what_waits_and_since_when() -> None:
    began, held = time.time(), asyncio.Event()

    async def reconcile(_key: Key) -> None:
        await held.wait()

    queue = Queue(reconcile, ReconcileSettings(workers=1))
    keys = [Key("ServiceAccount", "n", "a"), Key("ServiceAccount", "n", "b"), KEY]
    queue.add(*keys)
    assert queue.depth() == {"ServiceAccount": 2, "StorageFederation": 1}
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(queue.run(list))
        await until(lambda: not queue.depth())
        # Nothing waits for a worker any more; what hangs is seen all the same.
        assert began <= queue.oldest()["ServiceAccount"] <= time.time()
        held.set()
        await until(lambda: not queue.oldest())
        running.cancel()


def test_every_kind_that_is_reconciled_has_a_label_of_its_own() -> None:
    caches = Caches()
    caches.accounts.observe("ADDED", builders.service_account(inject="true"))
    caches.bindings.observe("ADDED", builders.binding())
    caches.federations.observe("ADDED", builders.federation())
    assert {key.kind for key in everything(caches)} == RECONCILED


async def test_policies_and_conditions_are_counted_as_they_change() -> None:
    async with managed(granted()) as here:
        await here.look()
        first = seen_of(here.world.acting.metrics)
        await here.look()
        again = seen_of(here.world.acting.metrics)
        here.delete()
        await here.look()
        last = seen_of(here.world.acting.metrics)
    assert first.counted("policy_changes_total") == {"ensure done": 1}
    turned = first.counted("condition_transitions_total")
    assert turned["PolicySynced FederatedStorageBinding Synced True"] == 1
    assert turned["Ready FederatedStorageBinding Ready True"] == 1
    assert again.counted("condition_transitions_total") == turned
    assert last.counted("policy_changes_total") == {"delete done": 1, "ensure done": 1}
    assert last.counted("drift_repairs_total") == {}


async def test_a_policy_that_is_not_taken_is_a_write_that_failed() -> None:
    async with managed(granted()) as here:
        here.fail("ensure", 400)
        await here.try_to_look()
        seen = seen_of(here.world.acting.metrics)
    assert seen.counted("policy_changes_total") == {"ensure failed": 1}


async def test_a_policy_that_somebody_removed_is_a_drift_repair() -> None:
    async with managed(granted()) as here:
        await here.look()
        del here.organization.policies[NAME]
        here.restart()  # what was just written is believed more than a LIST
        await here.look()
        seen = seen_of(here.world.acting.metrics)
    assert seen("drift_repairs_total") == 1
