"""What is read of a process when it is scraped."""

import asyncio

import pytest
from kubernetes.aio.client import ApiClient, Configuration

import builders
from caios_federation.caches import Caches
from caios_federation.clients import coreweave
from caios_federation.clients.kubernetes import KubernetesClient
from caios_federation.observe.metrics import Metrics
from caios_federation.readings import read_state
from caios_federation.reconcile.controller import Controller
from caios_federation.reconcile.leader import Leader
from caios_federation.settings import Role, Settings
from component.observability.scraping import Scrape, scrape


def having(name: str, **conditions: tuple[str, str]) -> builders.Json:
    """Return a binding whose status has `conditions`: of each the status and the reason."""
    entries = [
        {"type": kind, "status": status, "reason": reason, "message": "m"}
        for kind, (status, reason) in conditions.items()
    ]
    return builders.binding(name) | {"status": {"conditions": entries}}


async def shown(caches: Caches, *, leads: bool) -> Scrape:
    """Return what a controller with these caches shows."""
    settings, metrics = Settings(), Metrics(Role.CONTROLLER)
    async with (
        ApiClient(Configuration(host="http://127.0.0.1:1")) as api,
        coreweave.connect(settings.coreweave) as remote,
    ):
        client = KubernetesClient(api)
        leader = Leader(settings, caches, client, remote, metrics)
        if leads:
            leader.controller = Controller(settings, caches, client, remote, metrics)
            leader.controller.heal_webhook()
        metrics.read(lambda: read_state(caches, None, leader))
        return scrape(metrics.registry)


def known() -> Caches:
    caches = Caches()
    for body in (
        having("a", Ready=("True", "Ready"), PolicySynced=("True", "Synced")),
        having("b", Ready=("True", "Ready"), PolicySynced=("True", "Rendered")),
        having("c", Ready=("False", "Conflict"), PolicySynced=("Unknown", "Pending")),
        builders.binding("d"),
    ):
        caches.bindings.observe("ADDED", body)
    caches.accounts.observe("ADDED", builders.service_account())
    caches.synced.set()
    return caches


@pytest.mark.parametrize("leads", [True, False])
async def test_every_controller_knows_bindings_and_policies(leads: bool) -> None:
    seen = await shown(known(), leads=leads)
    assert seen("leader") == leads
    assert (seen("bindings", ready="true"), seen("bindings", ready="false")) == (2, 2)
    assert seen("managed_policies") == 1
    assert seen("cache_objects", kind="FederatedStorageBinding") == 4
    assert seen("cache_objects", kind="ServiceAccount") == 1


async def test_a_task_counts_until_it_has_ended() -> None:
    before = (await shown(known(), leads=False))("asyncio_tasks")
    more = asyncio.create_task(asyncio.Event().wait())
    during = (await shown(known(), leads=False))("asyncio_tasks")
    more.cancel()
    await asyncio.wait([more])
    after = (await shown(known(), leads=False))("asyncio_tasks")
    assert before is not None
    assert (during, after) == (before + 1, before)


async def test_the_queue_is_that_of_who_acts() -> None:
    acting = await shown(known(), leads=True)
    standing_by = await shown(known(), leads=False)
    assert acting.counted("queue_depth") == {"MutatingWebhookConfiguration": 1}
    assert acting("queue_depth", kind="ServiceAccount") == 0
    assert acting("queue_oldest_key_timestamp_seconds", kind="MutatingWebhookConfiguration")
    assert acting("queue_oldest_key_timestamp_seconds", kind="ServiceAccount") is None
    assert standing_by("queue_depth", kind="ServiceAccount") is None


async def test_what_is_not_known_yet_is_not_shown() -> None:
    """A number would be taken for what there is."""
    caches = known()
    caches.synced.clear()
    seen = await shown(caches, leads=True)
    assert seen("bindings", ready="false") is None
    assert seen("managed_policies") is None
    assert seen("certificate_expiry_timestamp_seconds") is None
    assert seen("cache_last_sync_timestamp_seconds", kind="ServiceAccount") is None
