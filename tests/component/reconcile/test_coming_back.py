"""A write of a policy that got no answer, and came about after the next one: it is undone."""

import pytest

from caios_federation.clients import errors
from caios_federation.core.sync import meaning_of
from caios_federation.reconcile import snapshot
from component.reconcile.managed import (
    FINALIZER,
    GRANT,
    NAME,
    OPEN_RULE,
    SECRET_PATH,
    Managed,
    granted,
    managed,
    secret,
)

WIDE = {**GRANT, "buckets": ["*"]}


async def lose_answer(here: Managed, operation: str) -> None:
    """Look at the binding once while `operation` gets no answer of CoreWeave."""
    here.fail(operation, 504)
    assert isinstance(await here.try_to_look(), errors.Unavailable)
    here.heal()


def ask_for(here: Managed, *grants: object) -> None:
    """Have the binding ask for these grants alone."""
    known = here.cluster.known["FederatedStorageBinding", "reader"]
    here.world.know({**known, "spec": {"serviceAccountName": "reader", "grants": list(grants)}})


def pass_time(here: Managed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the time be over in which what was given up may still come about."""
    (_, remote), *_ = here.world.acting.organizations._remotes.values()
    clock = remote.policies._clock
    later = clock() + snapshot._LATE_SECONDS
    monkeypatch.setattr(remote.policies, "_clock", lambda: later)


@pytest.mark.parametrize("lists_first", [False, True])
async def test_a_wider_policy_that_comes_about_late_is_narrowed_again(
    monkeypatch: pytest.MonkeyPatch, *, lists_first: bool
) -> None:
    async with managed(granted(grants=[WIDE])) as here:
        await lose_answer(here, "ensure")
        ask_for(here, GRANT)
        again = await here.look()
        assert again == pytest.approx(snapshot._LATE_SECONDS, abs=5)
        narrow = here.organization.policies[NAME]
        here.organization.policies[NAME] = _wider(narrow)
        pass_time(here, monkeypatch)
        if lists_first:
            await here.look_at_federation()
        here.steps()
        assert await here.look() is None
        assert "ensure" in here.steps()
        assert meaning_of(here.organization.policies[NAME]) == meaning_of(narrow)
        assert "DriftRepaired" not in here.world.events, "it was our own write"
        counted = here.world.acting.metrics.registry
        assert counted.get_sample_value("caios_federation_drift_repairs_total") == 0
        assert await here.look() is None
        assert here.steps() == ["pods"]


async def test_a_binding_stays_until_nothing_can_come_about_that_it_would_leave_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with managed(granted()) as here:
        await lose_answer(here, "ensure")
        here.delete()
        here.steps()
        again = await here.look()
        assert again == pytest.approx(snapshot._LATE_SECONDS, abs=5)
        assert here.steps() == ["delete", "status"]
        assert here.told("PolicySynced") == ("Unknown", "Pending")
        assert "got no answer" in here.condition("PolicySynced")["message"]
        await here.look()
        assert here.steps() == []
        here.organization.policies[NAME] = {"version": "v1alpha1", "name": NAME, "statements": []}
        pass_time(here, monkeypatch)
        assert await here.look() is None
        assert here.steps() == ["list", "delete", "release"]
        assert here.organization.policies == {}
        assert here.world.events == ["PolicyRemoved"]


async def test_a_removal_that_got_no_answer_is_not_waited_for_once_it_is_done() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.fail("delete", 504)
        here.delete()
        assert isinstance(await here.try_to_look(), errors.Unavailable)
        here.heal()
        assert await here.look() is None
        assert (here.organization.policies, here.finalizers) == ({}, [])


async def test_a_policy_is_retained_at_once_where_only_the_same_may_come_about_late() -> None:
    async with managed(granted()) as here:
        await lose_answer(here, "ensure")
        here.delete(deletionPolicy="Retain")
        assert await here.look() is None
        assert here.cluster.record == {NAME: "team-a/reader"}


async def test_a_policy_is_not_retained_while_a_removal_of_it_may_come_about() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.federate(grantRules=[])
        await lose_answer(here, "delete")
        here.federate()
        here.delete(deletionPolicy="Retain")
        assert await here.look() == pytest.approx(snapshot._LATE_SECONDS, abs=5)
        assert (here.finalizers, here.cluster.record) == ([FINALIZER], None)


async def test_a_retained_policy_that_an_earlier_write_widens_is_narrowed_before_its_binding_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with managed(granted(grants=[WIDE])) as here:
        await lose_answer(here, "ensure")
        here.delete(deletionPolicy="Retain", grants=[GRANT])
        assert await here.look() == pytest.approx(snapshot._LATE_SECONDS, abs=5)
        assert (here.finalizers, here.cluster.record) == ([FINALIZER], None)
        narrow = here.organization.policies[NAME]
        here.organization.policies[NAME] = _wider(narrow)
        pass_time(here, monkeypatch)
        assert await here.look() is None
        assert here.organization.policies[NAME] == narrow
        assert here.cluster.record == {NAME: "team-a/reader"}
        assert here.world.events == ["PolicyRetained"]


async def test_another_api_token_does_not_make_a_late_write_forgotten() -> None:
    async with managed(granted(grants=[WIDE])) as here:
        await lose_answer(here, "ensure")
        here.cluster.stored[f"{SECRET_PATH}-2"] = secret()
        ask_for(here, GRANT)
        here.federate(apiTokenSecretName="coreweave-2")
        assert await here.look() == pytest.approx(snapshot._LATE_SECONDS, abs=5)


async def test_a_refused_policy_that_comes_about_late_is_taken_back_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with managed(granted()) as here:
        await lose_answer(here, "ensure")
        here.federate(grantRules=[{**OPEN_RULE, "buckets": ["other"]}])
        again = await here.look()
        assert again == pytest.approx(snapshot._LATE_SECONDS, abs=5)
        here.organization.policies[NAME] = {"version": "v1alpha1", "name": NAME, "statements": []}
        pass_time(here, monkeypatch)
        await here.look()
        assert here.organization.policies == {}


async def test_a_policy_that_nobody_asks_for_any_more_is_looked_for_until_none_can_come_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with managed(granted(grants=[WIDE])) as here:
        await lose_answer(here, "ensure")
        ask_for(here)
        assert await here.look() == pytest.approx(snapshot._LATE_SECONDS, abs=5)
        here.organization.policies[NAME] = _wider({"version": "v1alpha1", "name": NAME})
        pass_time(here, monkeypatch)
        assert await here.look() is None
        assert here.organization.policies == {}
        held = here.cluster.known["FederatedStorageBinding", "reader"]["metadata"]
        assert not held.get("finalizers")


def _wider(policy: dict[str, object]) -> dict[str, object]:
    statement = {
        "name": "w",
        "effect": "Allow",
        "actions": ["s3:*"],
        "resources": ["*"],
        "principals": ["role/i:system:serviceaccount:a:b"],
    }
    return {**policy, "statements": [statement]}
