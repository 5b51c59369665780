"""Bindings that leave: their policy goes with them, is retained, or is left and told."""

import pytest
import structlog

import builders
from caios_federation.clients import errors
from caios_federation.core.sync import meaning_of
from caios_federation.reconcile.organizations import TokenMissing
from component.reconcile.managed import (
    BINDING_KIND,
    FINALIZER,
    GRANT,
    NAME,
    Managed,
    granted,
    is_applied,
    managed,
)


async def test_whoever_switches_to_rendered_keeps_the_policies_and_may_delete() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.steps()
        here.federate(policyManagement="Rendered", verification="Disabled")
        await here.look()
        assert here.steps() == ["release", "pods", "status"]
        assert NAME in here.organization.policies
        assert here.condition("PolicySynced") == {}


async def test_a_binding_deleted_after_the_switch_to_rendered_leaves_its_policy() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.federate(policyManagement="Rendered")
        here.delete()
        here.steps()
        await here.look()
        assert here.steps() == ["release"]
        assert NAME in here.organization.policies


async def test_a_binding_that_retains_its_policy_is_on_record_before_it_goes() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.steps()
        here.delete(deletionPolicy="Retain")
        with structlog.testing.capture_logs() as lines:
            await here.look()
        assert here.steps() == ["record", "create record", "release"]
        assert here.world.events[-1] == "PolicyRetained"
        assert [(line["event"], line["policyName"]) for line in lines] == [
            ("policy retained", NAME)
        ]
        assert here.cluster.record == {NAME: "team-a/reader"}
        assert NAME in here.organization.policies


def removals(here: Managed) -> list[str]:
    """Return what events say of policies that went."""
    posted = [seen.json for seen in here.world.server.seen if seen.path.endswith("/events")]
    return [body["message"] for body in posted if body["reason"] == "PolicyRemoved"]


async def test_retain_retains_nothing_that_the_rules_refuse() -> None:
    """Not either where the policy could not be taken back before somebody said Retain."""
    async with managed(granted()) as here:
        await here.look()
        here.federate(grantRules=[])
        here.fail("delete")
        assert isinstance(await here.try_to_look(), errors.Unavailable)
        here.delete(deletionPolicy="Retain")
        assert isinstance(await here.try_to_look(), errors.Unavailable)
        assert here.finalizers == [FINALIZER]
        assert "until its policy is removed" in here.condition("PolicySynced")["message"]
        here.heal()
        await here.look()
        assert here.organization.policies == {}
        assert here.cluster.record is None
        (told,) = removals(here)
        assert told.startswith(f"Policy '{NAME}' is removed, although spec.deletionPolicy says")
        assert told.endswith("because the binding is not accepted (GrantNotAllowed)")


def waiting(created: str) -> builders.Json:
    """Return another binding of the ServiceAccount."""
    other = builders.binding("other", serviceAccountName="reader", grants=[GRANT])
    other["metadata"]["creationTimestamp"] = created
    return other


async def test_retain_retains_the_policy_of_a_binding_whose_successor_waits_already() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.world.know(waiting("2026-11-24T11:00:00Z"))
        await here.look("other")
        assert here.told("Accepted", "other") == ("False", "Conflict")
        here.delete(deletionPolicy="Retain")
        await here.look()
        assert NAME in here.organization.policies
        assert here.cluster.record == {NAME: "team-a/reader"}
        await here.look("other")
        assert here.told("Accepted", "other") == ("True", "Accepted")
        assert len(here.organization.policies) == 2


async def test_retain_retains_nothing_of_a_binding_that_lost_its_service_account() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.world.know(waiting("2026-11-24T09:00:00Z"))
        here.delete(deletionPolicy="Retain")
        await here.look()
        assert NAME not in here.organization.policies
        assert removals(here)[-1].endswith("because the binding is not accepted (Conflict)")


async def test_retain_retains_no_grants_that_are_gone() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.delete(deletionPolicy="Retain", grants=[])
        await here.look()
        assert here.organization.policies == {}
        assert here.cluster.record is None
        assert removals(here)[-1].endswith("because it has no grants")


async def test_what_is_retained_is_what_the_grants_say_last() -> None:
    narrower = {**GRANT, "prefixes": ["public/"]}
    async with managed(granted()) as here:
        await here.look()
        wide = here.organization.policies[NAME]
        here.delete(deletionPolicy="Retain", grants=[narrower])
        here.fail("ensure")
        assert isinstance(await here.try_to_look(), errors.Unavailable)
        assert here.told("PolicySynced") == ("False", "DeleteFailed")
        assert (here.finalizers, here.cluster.record) == ([FINALIZER], None)
        here.heal()
        await here.look()
        assert meaning_of(here.organization.policies[NAME]) != meaning_of(wide)
        assert "public/" in str(here.organization.policies[NAME])
        assert here.cluster.record == {NAME: "team-a/reader"}


async def test_a_policy_that_is_refused_keeps_a_binding_that_retains_the_one_before() -> None:
    async with managed(granted()) as here:
        await here.look()
        before = here.organization.policies[NAME]
        here.delete(deletionPolicy="Retain", grants=[{**GRANT, "buckets": ["logs"]}])
        here.fail("ensure", 400, message="no such bucket")
        assert isinstance(await here.try_to_look(), errors.Rejected)
        assert (here.organization.policies[NAME], here.finalizers) == (before, [FINALIZER])
        told = here.condition("PolicySynced")["message"]
        assert "no such bucket" in told
        assert "until its policy says what its grants say" in told
        here.delete(deletionPolicy="Delete")
        await here.look()
        assert (here.organization.policies, here.finalizers) == ({}, [])


async def test_a_binding_whose_policy_was_never_taken_goes_as_there_is_none_to_retain() -> None:
    async with managed(granted(deletionPolicy="Retain")) as here:
        here.fail("ensure", 400, message="no such bucket")
        assert isinstance(await here.try_to_look(), errors.Rejected)
        assert here.finalizers == [FINALIZER]
        here.delete()
        assert await here.look() is None
        assert (here.finalizers, here.cluster.record) == ([], None)
        assert here.world.events == ["PolicySyncFailed"] * 2
        posted = [seen.json for seen in here.world.server.seen if seen.path.endswith("/events")]
        assert "nothing is retained" in posted[-1]["message"]
        assert "no such bucket" in posted[-1]["message"]


@pytest.mark.parametrize("said", ["Retain", "AsTheNextVersionSays"])
async def test_a_policy_is_retained_as_it_is_where_the_spec_cannot_be_read(said: str) -> None:
    async with managed(granted()) as here:
        await here.look()
        before = here.organization.policies[NAME]
        here.delete(deletionPolicy=said, audience=5)
        here.steps()
        assert await here.look() is None
        assert here.steps() == ["record", "create record", "release"]
        assert here.organization.policies == {NAME: before}
        assert here.cluster.record == {NAME: "team-a/reader"}
        posted = [seen.json for seen in here.world.server.seen if seen.path.endswith("/events")]
        assert posted[-1]["reason"] == "PolicyRetained"
        assert "the spec cannot be read (spec.audience: " in posted[-1]["message"]


async def test_a_policy_is_removed_as_asked_where_the_rest_of_the_spec_cannot_be_read() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.delete(deletionPolicy="Delete", audience=5)
        await here.look()
        assert (here.organization.policies, here.finalizers) == ({}, [])


async def test_a_spec_that_cannot_be_read_and_has_no_policy_retains_none() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.organization.policies.clear()
        here.restart()  # what was just written is believed more than a LIST
        here.delete(deletionPolicy="Retain", audience=5)
        assert await here.look() is None
        assert (here.finalizers, here.cluster.record) == ([], None)
        assert here.world.events[-1] == "PolicySyncFailed"


async def test_nothing_is_retained_before_it_can_be_judged() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.world.caches.namespaces.objects.clear()
        here.delete(deletionPolicy="Retain")
        assert isinstance(await here.try_to_look(), errors.Unavailable)
        assert here.told("PolicySynced") == ("False", "DeleteFailed")
        assert "labels" in here.condition("PolicySynced")["message"]
        here.know_namespace()
        await here.look()
        assert here.cluster.record == {NAME: "team-a/reader"}


@pytest.mark.parametrize("step", ["record", "create record"])
async def test_a_binding_stays_until_what_it_retains_is_on_record(step: str) -> None:
    async with managed(granted()) as here:
        await here.look()
        here.delete(deletionPolicy="Retain")
        here.fail(step, 500)
        assert isinstance(await here.try_to_look(), errors.Unavailable)
        assert here.finalizers == [FINALIZER]


async def test_a_record_that_may_not_be_written_is_told_of_a_binding_that_stays() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.delete(deletionPolicy="Retain")
        here.fail("record", 403)
        assert isinstance(await here.try_to_look(), errors.PermissionDenied)
        assert here.told("PolicySynced") == ("False", "DeleteFailed")
        assert "refused by the API server" in here.condition("PolicySynced")["message"]
        assert here.world.events[2:] == ["CleanupBlocked"]
        assert here.finalizers == [FINALIZER]


@pytest.mark.parametrize("step", ["hold", "read record"])
async def test_what_the_api_server_does_not_let_us_do_for_a_policy_is_told(step: str) -> None:
    async with managed(granted()) as here:
        here.fail(step, 403)
        for _ in range(2):
            assert isinstance(await here.try_to_look(), errors.PermissionDenied)
        assert here.told("Accepted") == ("True", "Accepted")
        assert here.told("PolicySynced") == ("False", "SyncFailed")
        assert "give it the rights" in here.condition("PolicySynced")["message"]
        assert here.world.events == ["PolicySyncFailed"]
        assert here.organization.policies == {}
        here.heal()
        assert await here.try_to_look() is None
        assert is_applied(here)


async def test_a_retained_policy_that_a_binding_has_again_leaves_the_record() -> None:
    async with managed(granted()) as here:
        here.cluster.record = {NAME: "team-a/reader", "another": "x/y"}
        await here.look()
        assert here.cluster.record == {"another": "x/y"}
        here.steps()
        await here.look()
        assert here.steps() == ["pods"]


async def test_a_binding_whose_federation_is_gone_goes_and_says_what_it_leaves() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.world.forget(builders.federation())
        here.delete()
        here.steps()
        await here.look()
        assert here.steps() == ["release"]
        posted = [r.json for r in here.world.server.seen if r.path.endswith("/events")]
        assert posted[-1]["reason"] == "PolicyAbandoned"
        assert f"Policy '{NAME}' is left at CoreWeave" in posted[-1]["message"]


async def test_a_policy_that_is_left_is_named_although_the_status_does_not_any_more() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.world.forget(builders.federation())
        await here.look()
        assert here.told("Accepted") == ("False", "FederationNotFound")
        here.delete()
        await here.look()
        posted = [r.json for r in here.world.server.seen if r.path.endswith("/events")]
        assert f"Policy '{NAME}' is left at CoreWeave" in posted[-1]["message"]


async def test_a_deletion_without_an_issuer_waits_and_says_why() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.world.caches.issuer = None
        here.delete()
        assert isinstance(await here.try_to_look(), errors.Unavailable)
        assert here.told("PolicySynced") == ("False", "DeleteFailed")
        assert "IssuerDiscovered" in here.condition("PolicySynced")["message"]
        assert here.finalizers == [FINALIZER]


@pytest.mark.parametrize("step", ["secret", "delete"])
async def test_a_binding_stays_while_the_secret_is_gone_or_the_token_is_refused(step: str) -> None:
    async with managed(granted()) as here:
        await here.look()
        here.restart()
        here.delete()
        here.fail(step, 404 if step == "secret" else 401)
        assert isinstance(await here.try_to_look(), errors.Terminal)
        assert here.finalizers == [FINALIZER]
        assert NAME in here.organization.policies
        assert here.told("PolicySynced") == ("False", "DeleteFailed")
        assert "condition APITokenValid" in here.condition("PolicySynced")["message"]
        here.heal()
        assert await here.try_to_look() is None
        assert here.organization.policies == {}


@pytest.mark.parametrize("status", [401, 403, 400, 429, 500])
async def test_a_deletion_that_is_refused_says_why_once_and_completes_later(status: int) -> None:
    async with managed(granted()) as here:
        await here.look()
        here.delete()
        here.fail("delete", status)
        here.steps()
        assert await here.try_to_look() is not None
        assert await here.try_to_look() is not None
        assert here.steps() == ["delete", "status", "delete"]
        assert here.told("PolicySynced") == ("False", "DeleteFailed")
        assert here.told("Ready") == ("False", "DeleteFailed")
        assert here.status()["policy"]["name"] == NAME
        assert here.world.events[2:] == ["CleanupBlocked"]
        here.heal()
        assert await here.try_to_look() is None
        assert (BINDING_KIND, "reader") not in here.cluster.known


async def test_a_deletion_without_a_token_waits_rather_than_leaving_the_policy_behind() -> None:
    async with managed(granted()) as here:
        await here.look()
        secret_at, body = here.cluster.stored.popitem()
        here.restart()  # a token that is held would be used for a while
        here.delete()
        assert isinstance(await here.try_to_look(), TokenMissing)
        assert here.told("PolicySynced") == ("False", "DeleteFailed")
        assert here.finalizers == [FINALIZER]
        assert here.world.events[2:] == ["CleanupBlocked"]
        here.cluster.stored[secret_at] = body
        assert await here.try_to_look() is None
        assert here.organization.policies == {}
        assert (BINDING_KIND, "reader") not in here.cluster.known
