"""Federations: their status tells the issuer and counts the bindings."""

import builders
from caios_federation.reconcile.federation import reconcile_federation
from component.reconcile.world import World, world

STATUS = "PATCH /apis/caios.coreweave.com/v1alpha1/storagefederations/default/status"


async def reconcile(here: World) -> None:
    await reconcile_federation(here.caches, here.acting, "default")


def ready_binding(name: str, **spec: object) -> builders.Json:
    body = builders.binding(name, "team-a", **spec)
    body["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}
    return body


async def test_a_status_is_written_once() -> None:
    async with world() as here:
        await reconcile(here)
        await reconcile(here)
        assert here.writes == [STATUS]
        assert here.caches.federations.objects["default"].status["issuer"] == builders.ISSUER


async def test_its_own_bindings_are_counted() -> None:
    others = ready_binding("other", federationName="special")
    async with world(ready_binding("a"), builders.binding("b"), others) as here:
        await reconcile(here)
        status = here.server.seen[0].json["status"]
        assert status["bindings"] == {"total": 2, "ready": 1}


async def test_a_binding_that_gets_ready_is_counted_anew() -> None:
    async with world(builders.binding("a")) as here:
        await reconcile(here)
        here.know(ready_binding("a"))
        await reconcile(here)
        assert [seen.json["status"]["bindings"]["ready"] for seen in here.server.seen] == [0, 1]


async def test_an_issuer_that_cannot_be_discovered_is_told() -> None:
    async with world() as here:
        here.caches.issuer = None
        here.caches.issuer_problem = "API server: 403"
        here.know(builders.federation())
        await reconcile(here)
        status = here.server.seen[0].json["status"]
        assert "issuer" not in status
        assert status["conditions"][0]["message"].startswith("API server: 403; set spec.issuerURL")


async def test_a_federation_that_is_gone_or_going_is_left_alone() -> None:
    going = builders.federation()
    going["metadata"]["deletionTimestamp"] = "2026-11-24T11:00:00Z"
    async with world() as here:
        here.know(going)
        await reconcile(here)
        here.forget(going)
        await reconcile(here)
        assert here.server.seen == []
