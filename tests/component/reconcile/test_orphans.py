"""Policies of no binding: removed once after each LIST, and never one that somebody has."""

import asyncio
from typing import Any

import pytest

import builders
from caios_federation.clients import errors
from caios_federation.core.naming import policy_name
from caios_federation.core.principal import Issuer
from component.reconcile.managed import (
    FINALIZER,
    GRANT,
    NAME,
    Managed,
    granted,
    managed,
)

FOREIGN = ("reader", "cks-00000000-team-a-reader-86a4e07ec608a3d5", "x" + NAME, "cks-d185efff")


def named(binding: str) -> str:
    return policy_name(builders.ISSUER, "team-a", binding)


def put(here: Managed, *names: str) -> None:
    """Have policies at CoreWeave since long."""
    for name in names:
        here.organization.policies[name] = {"version": "v1alpha1", "name": name, "statements": []}


async def test_an_orphan_goes_and_what_is_foreign_stays() -> None:
    async with managed() as here:
        put(here, NAME, *FOREIGN)
        await here.look_at_federation()
        assert set(here.organization.policies) == set(FOREIGN)
        assert here.organization.names == [NAME]
        assert here.world.events == ["PolicyRemoved"]
        (line,) = (x for x in here.world.lines if x["event"] == "orphaned policy removed")
        assert (line["federation"], line["policyName"]) == ("default", NAME)


async def test_a_federation_that_states_another_clusters_issuer_removes_nothing_of_it() -> None:
    other = Issuer("https://oidc.example/id/of-another-cluster")
    name = policy_name(other, "team-a", "reader")
    async with managed(issuerURL=other) as here:
        put(here, name)
        await here.look_at_federation()
        assert name in here.organization.policies
        assert here.world.events == []


async def test_orphans_are_looked_for_once_after_each_list() -> None:
    async with managed() as here:
        for _ in range(3):
            await here.look_at_federation()
        put(here, NAME)
        await here.look_at_federation()
        assert here.steps().count("list") == 1
        assert here.organization.names == []
        here.relist()
        for _ in range(3):
            await here.look_at_federation()
        assert here.steps() == ["list", "read record", "delete"]
        assert here.organization.policies == {}


async def test_the_record_of_retained_policies_is_read_only_when_there_is_an_orphan() -> None:
    async with managed(granted()) as here:
        put(here, NAME)
        await here.look_at_federation()
        assert "read record" not in here.steps()


@pytest.mark.parametrize(
    "body",
    [
        granted(),
        granted(federationName="another"),
        granted(grants=[{**GRANT, "access": "FullControl"}]),
        granted(grants=[{**GRANT, "access": "of a later version"}]),
    ],
    ids=["granted", "of another federation", "refused", "not understood"],
)
async def test_a_policy_that_a_binding_wants_is_no_orphan(body: builders.Json) -> None:
    async with managed(body) as here:
        put(here, NAME)
        await here.look_at_federation()
        assert set(here.organization.policies) == {NAME}


async def test_a_policy_that_a_binding_has_not_let_go_of_is_no_orphan() -> None:
    body = builders.binding()
    body["metadata"]["finalizers"] = [FINALIZER]
    body["metadata"]["deletionTimestamp"] = "2026-11-24T11:00:00Z"
    async with managed(body) as here:
        put(here, NAME)
        await here.look_at_federation()
        assert set(here.organization.policies) == {NAME}


async def test_a_binding_that_is_granted_nothing_has_no_policy() -> None:
    async with managed(builders.binding()) as here:
        put(here, NAME)
        await here.look_at_federation()
        assert here.organization.policies == {}


async def test_two_federations_that_share_an_organization_leave_each_other_alone() -> None:
    one, two = granted(), builders.binding("two", federationName="second", grants=[GRANT])
    async with managed(one, two) as here:
        first = here.cluster.known["StorageFederation", "default"]
        second = {**first, "metadata": {**first["metadata"], "name": "second", "uid": "other"}}
        here.world.know(second)
        await here.look("reader")
        await here.look("two")
        for name in ("default", "second"):
            await here.look_at_federation(name)
        assert set(here.organization.policies) == {NAME, named("two")}
        here.remove("two")
        here.relist()
        await here.look_at_federation("default")
        await here.look_at_federation("second")
        assert set(here.organization.policies) == {NAME}


async def test_a_binding_that_changes_between_such_federations_is_not_taken_for_applied() -> None:
    """The other federation's list, up to ten minutes old, still has the policy of before."""
    async with managed(granted()) as here:
        first = here.cluster.known["StorageFederation", "default"]
        second = {**first, "metadata": {**first["metadata"], "name": "second", "uid": "other"}}
        here.world.know(second)
        await here.look()
        await here.look_at_federation("second")  # which lists
        here.delete()
        await here.look()
        assert here.organization.policies == {}
        here.world.know(granted(federationName="second"))
        await here.look()
        assert here.told("PolicySynced") == ("True", "Synced")
        assert set(here.organization.policies) == {NAME}
        here.steps()
        await here.look_at_federation("second")
        assert "list" not in here.steps()


async def test_a_refused_removal_leaves_the_policy_in_what_the_other_federation_knows() -> None:
    async with managed(granted()) as here:
        first = here.cluster.known["StorageFederation", "default"]
        second = {**first, "metadata": {**first["metadata"], "name": "second", "uid": "other"}}
        here.world.know(second)
        await here.look()
        await here.look_at_federation("second")
        here.delete()
        here.fail("delete", 403)
        assert isinstance(await here.try_to_look(), errors.PermissionDenied)
        here.heal()
        here.remove()
        here.world.know(granted(federationName="second"))
        here.steps()
        await here.look()
        assert "ensure" not in here.steps()
        assert here.told("PolicySynced") == ("True", "Synced")


async def test_what_is_retained_on_purpose_stays_until_a_person_takes_it_off_the_record() -> None:
    async with managed() as here:
        put(here, NAME)
        here.cluster.record = {NAME: "team-a/reader"}
        await here.look_at_federation()
        assert set(here.organization.policies) == {NAME}
        here.cluster.record = {}
        here.relist()
        await here.look_at_federation()
        assert here.organization.policies == {}


async def test_nothing_is_removed_while_the_record_cannot_be_read() -> None:
    async with managed() as here:
        put(here, NAME)
        here.fail("read record", 500)
        with pytest.raises(errors.Unavailable):
            await here.look_at_federation()
        assert set(here.organization.policies) == {NAME}
        here.heal()
        await here.look_at_federation()
        assert here.organization.policies == {}


async def test_a_removal_that_fails_is_taken_up_again_and_the_status_is_written_anyway() -> None:
    async with managed() as here:
        put(here, NAME, named("other"))
        here.fail("delete", 403)
        with pytest.raises(errors.PermissionDenied):
            await here.look_at_federation()
        assert here.steps()[-1] == "status"
        here.heal()
        await here.look_at_federation()
        assert here.organization.policies == {}


@pytest.mark.parametrize("spec", [{"policyManagement": "Rendered"}, {"apiTokenSecretName": None}])
async def test_a_federation_that_manages_nothing_removes_nothing(spec: dict[str, Any]) -> None:
    async with managed(**spec) as here:
        put(here, NAME)
        await here.look_at_federation()
        assert "list" not in here.steps()


async def test_nothing_is_removed_before_the_issuer_is_known() -> None:
    async with managed() as here:
        put(here, NAME)
        here.world.caches.issuer = None
        here.federate()
        await here.look_at_federation()
        assert "list" not in here.steps()


class Pause:
    """Holds a removal up until somebody says that it may go on."""

    def __init__(self, here: Managed, step: str) -> None:
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()
        here.script.pauses[step] = self

    async def __call__(self) -> None:
        self.reached.set()
        await self.go_on.wait()


async def test_a_policy_that_is_retained_while_others_are_removed_stays() -> None:
    """The sweep takes long; a binding that goes meanwhile left its name on the record."""
    async with managed(granted(deletionPolicy="Retain")) as here:
        await here.look()
        put(here, named("a"))
        here.restart()
        pause = Pause(here, "delete")
        sweeping = asyncio.ensure_future(here.look_at_federation())
        await pause.reached.wait()
        here.delete()
        await here.look()
        here.watch()
        assert here.world.caches.bindings.objects == {}
        pause.go_on.set()
        await sweeping
        assert set(here.organization.policies) == {NAME}
        assert here.cluster.record == {NAME: "team-a/reader"}


async def test_a_policy_that_is_retained_while_the_record_is_read_stays() -> None:
    async with managed(granted(deletionPolicy="Retain")) as here:
        await here.look()
        put(here, named("a"))
        here.restart()
        pause = Pause(here, "answer to read record")
        sweeping = asyncio.ensure_future(here.look_at_federation())
        await pause.reached.wait()
        here.delete()
        leaving = asyncio.ensure_future(here.look())
        await asyncio.wait([leaving], timeout=0.2)  # as far as it gets meanwhile
        here.watch()
        pause.go_on.set()
        await leaving
        await sweeping
        assert set(here.organization.policies) == {NAME}


async def test_a_binding_that_comes_back_while_its_policy_is_removed_has_one_in_the_end() -> None:
    """Its apply must not take the policy that is about to go for one that is there."""
    async with managed() as here:
        put(here, NAME)
        pause = Pause(here, "delete")
        sweeping = asyncio.ensure_future(here.look_at_federation())
        await pause.reached.wait()
        here.world.know(granted())
        applying = asyncio.ensure_future(here.look())
        for _ in range(20):
            await asyncio.sleep(0)
        assert "ensure" not in here.steps()
        pause.go_on.set()
        await sweeping
        await applying
        assert len(here.organization.policies[NAME]["statements"]) > 1
        assert here.told("PolicySynced") == ("True", "Synced")
