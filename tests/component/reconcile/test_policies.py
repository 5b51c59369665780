"""Policies of bindings: the finalizer before and after, whatever fails in between."""

import pytest

import builders
from caios_federation.clients import errors
from component.reconcile.managed import (
    BINDING_KIND,
    FINALIZER,
    GRANT,
    NAME,
    OPEN_RULE,
    granted,
    is_applied,
    managed,
)

BEGINNING = ["secret", "list", "hold", "read record"]
PROOF = ["token", "exchange"]
APPLIED = [*BEGINNING, "ensure", *PROOF, "pods", "status"]


async def test_the_finalizer_is_there_before_the_policy() -> None:
    async with managed(granted()) as here:
        assert await here.look() is None
        assert here.steps() == APPLIED
        assert is_applied(here)
        assert here.told("PolicySynced") == ("True", "Synced")
        assert here.told("Ready") == ("True", "Ready")
        assert sorted(here.world.events) == ["CredentialsVerified", "PolicyApplied"]


async def test_the_policy_is_gone_before_the_finalizer() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.steps()
        here.delete()
        await here.look()
        assert here.steps() == ["delete", "release"]
        assert here.organization.policies == {}
        assert (BINDING_KIND, "reader") not in here.cluster.known
        assert here.world.events[-1] == "PolicyRemoved"


async def test_what_is_as_it_should_be_is_not_written_again() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.steps()
        for _ in range(3):
            await here.look()
        here.relist()
        await here.look()
        assert here.steps() == ["pods"] * 3 + ["list", "pods"]


STEPS = ["secret", "list", "hold", "read record", "ensure", "token", "exchange", "pods", "status"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", STEPS)
async def test_an_apply_that_ends_at_any_step_leaves_no_policy_unheld_and_converges(
    step: str, *, after: bool
) -> None:
    async with managed(granted()) as here:
        here.fail(step, after=after)
        assert isinstance(await here.try_to_look(), errors.Retryable)
        assert here.organization.policies.keys() <= ({NAME} if here.finalizers else set())
        here.heal()
        here.restart()
        assert await here.try_to_look() is None
        assert is_applied(here)
        assert here.told("Ready") == ("True", "Ready")
        here.steps()
        await here.look()
        assert here.steps() == ["pods"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", STEPS)
async def test_an_apply_that_fails_at_any_step_converges_without_a_restart(
    step: str, *, after: bool
) -> None:
    async with managed(granted()) as here:
        here.fail(step, after=after)
        await here.try_to_look()
        here.heal()
        here.relist()
        assert await here.try_to_look() is None
        assert is_applied(here)
        assert here.told("Ready") == ("True", "Ready")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", ["delete", "release"])
async def test_a_deletion_that_ends_at_any_step_keeps_the_finalizer_while_there_is_a_policy(
    step: str, *, after: bool
) -> None:
    async with managed(granted()) as here:
        await here.look()
        here.delete()
        here.fail(step, after=after)
        assert isinstance(await here.try_to_look(), errors.Retryable)
        assert here.organization.policies.keys() <= ({NAME} if here.finalizers else set())
        here.heal()
        here.restart()
        assert await here.try_to_look() is None
        assert here.organization.policies == {}
        assert (BINDING_KIND, "reader") not in here.cluster.known


async def test_a_policy_is_not_written_for_a_binding_that_somebody_else_writes() -> None:
    async with managed(granted()) as here:
        here.watch()
        here.cluster.known[BINDING_KIND, "reader"]["metadata"]["resourceVersion"] = "9999"
        with pytest.raises(errors.WriteConflict):
            await here.world.reconcile()
        assert here.organization.policies == {}
        await here.look()
        assert is_applied(here)


async def test_a_policy_is_not_written_for_a_binding_that_is_gone() -> None:
    async with managed(granted()) as here:
        here.watch()
        del here.cluster.known[BINDING_KIND, "reader"]
        assert await here.world.reconcile() is None
        assert here.steps() == ["secret", "list", "hold"]
        assert here.world.events == []


async def test_a_policy_is_not_written_for_another_binding_of_its_name() -> None:
    async with managed(granted()) as here:
        here.watch()
        here.cluster.known[BINDING_KIND, "reader"]["metadata"]["uid"] = "a successor"
        with pytest.raises(errors.WriteConflict):
            await here.world.reconcile()
        assert here.organization.policies == {}


async def test_the_finalizers_of_others_stay() -> None:
    body = granted()
    body["metadata"]["finalizers"] = ["example.com/theirs"]
    async with managed(body) as here:
        await here.look()
        assert here.finalizers == ["example.com/theirs", FINALIZER]
        here.delete()
        await here.look()
        assert here.finalizers == ["example.com/theirs"]
        here.steps()
        await here.look()
        assert here.steps() == []


async def test_grants_that_change_are_applied() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.steps()
        here.world.know(
            {
                **here.cluster.known[BINDING_KIND, "reader"],
                "spec": {
                    "serviceAccountName": "reader",
                    "grants": [{**GRANT, "buckets": ["logs"]}],
                },
            }
        )
        await here.look()
        assert here.steps() == ["ensure", *PROOF, "pods", "status"]
        resources = [s["resources"] for s in here.organization.policies[NAME]["statements"]]
        assert resources == [["*"], ["logs"], ["logs/*"]]
        assert here.world.events[2:] == ["PolicyApplied"]


@pytest.mark.parametrize("theirs", [None, {"version": "v1alpha1", "statements": []}])
async def test_what_somebody_else_changed_is_put_right_and_told(
    theirs: builders.Json | None,
) -> None:
    async with managed(granted()) as here:
        await here.look()
        before = here.organization.policies.pop(NAME)
        if theirs is not None:
            here.organization.policies[NAME] = {**theirs, "name": NAME}
        here.restart()  # what was just written is believed more than a LIST
        await here.look()
        assert here.organization.policies[NAME] == before
        assert here.world.events[-1] == "DriftRepaired"
        assert here.told("Ready") == ("True", "Ready")


async def test_grants_that_are_taken_out_take_the_policy_along() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.steps()
        here.world.know(
            {**here.cluster.known[BINDING_KIND, "reader"], "spec": {"serviceAccountName": "reader"}}
        )
        await here.look()
        assert here.steps() == ["delete", "release", *PROOF, "pods", "status"]
        assert (here.organization.policies, here.finalizers) == ({}, [])
        assert here.condition("PolicySynced") == {}


async def test_a_binding_that_is_refused_later_loses_its_policy() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.federate(grantRules=[{**OPEN_RULE, "buckets": ["other"]}])
        here.steps()
        await here.look()
        assert here.steps() == ["delete", "release", "status"]
        assert (here.organization.policies, here.finalizers) == ({}, [])
        assert here.told("Accepted") == ("False", "GrantNotAllowed")
        assert here.told("PolicySynced") == ("Unknown", "Pending")
        here.federate()
        await here.look()
        assert is_applied(here)


async def test_a_binding_that_was_never_accepted_gets_nothing() -> None:
    async with managed(granted(), grantRules=[]) as here:
        await here.look()
        assert here.steps() == ["secret", "list", "status"]
        assert here.told("PolicySynced") == ("Unknown", "Pending")


async def test_a_binding_that_loses_its_service_account_loses_its_policy() -> None:
    elder = builders.binding("elder", serviceAccountName="reader", grants=[GRANT])
    elder["metadata"]["creationTimestamp"] = "2026-11-24T09:00:00Z"
    async with managed(granted()) as here:
        await here.look()
        here.world.know(elder)
        await here.look()
        assert here.told("Accepted") == ("False", "Conflict")
        assert (here.organization.policies, here.finalizers) == ({}, [])
        await here.look("elder")
        assert len(here.organization.policies) == 1
        here.remove("elder")
        await here.look()
        assert NAME in here.organization.policies


async def test_a_policy_stays_while_the_spec_cannot_be_read() -> None:
    async with managed(granted()) as here:
        await here.look()
        known = here.cluster.known[BINDING_KIND, "reader"]
        here.world.know({**known, "spec": {**known["spec"], "audience": 5}})
        here.steps()
        await here.look()
        assert here.told("Accepted") == ("False", "InvalidSpec")
        assert here.steps() == ["status"]
        assert is_applied(here)


async def test_a_policy_that_a_refused_binding_cannot_be_rid_of_keeps_its_finalizer() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.federate(grantRules=[])
        here.fail("delete", 403)
        assert isinstance(await here.try_to_look(), errors.PermissionDenied)
        assert here.finalizers == [FINALIZER]
        assert here.told("PolicySynced") == ("False", "PermissionDenied")
        here.heal()
        assert await here.try_to_look() is None
        assert (here.organization.policies, here.finalizers) == ({}, [])


async def test_a_policy_stays_while_it_is_not_known_whether_it_is_allowed() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.steps()
        here.world.caches.namespaces.objects.clear()
        await here.look()
        assert here.told("Accepted") == ("Unknown", "Pending")
        assert here.told("PolicySynced") == ("Unknown", "Pending")
        assert here.steps() == ["status"]
        assert is_applied(here)


async def test_a_policy_stays_while_the_issuer_is_not_known() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.steps()
        here.world.caches.issuer = None
        await here.look()
        assert here.steps() == ["status"]
        assert is_applied(here)
