"""Policies of bindings: the finalizer before and after, whatever fails in between."""

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
    OPEN_RULE,
    Managed,
    granted,
    managed,
    raw_secret,
    secret,
)

BEGINNING = ["secret", "list", "hold", "read record"]
PROOF = ["token", "exchange"]
APPLIED = [*BEGINNING, "ensure", *PROOF, "pods", "status"]


def is_applied(here: Managed) -> bool:
    """Tell whether CoreWeave has what the binding's status says."""
    document = here.organization.policies.get(NAME)
    return document is not None and meaning_of(document) != "" and FINALIZER in here.finalizers


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


async def test_a_binding_without_grants_is_neither_held_nor_listed_for() -> None:
    async with managed(builders.binding(), verification="Disabled") as here:
        await here.look()
        assert here.steps() == ["pods", "status"]


@pytest.mark.parametrize(
    ("status", "reason", "events"),
    [
        (401, "PermissionDenied", ["PolicySyncFailed"]),
        (403, "PermissionDenied", ["PolicySyncFailed"]),
        (400, "Rejected", ["PolicySyncFailed"]),
        (429, "RateLimited", ["PolicySyncFailed"]),
        (404, "SyncFailed", ["PolicySyncFailed"]),
        (500, "APIUnavailable", []),
    ],
)
@pytest.mark.parametrize("step", ["list", "ensure"])
async def test_an_apply_that_is_refused_says_why_once(
    step: str, status: int, reason: str, events: list[str]
) -> None:
    async with managed(granted()) as here:
        here.fail(step, status)
        for _ in range(3):
            assert await here.try_to_look() is not None
        assert here.told("PolicySynced")[1] == reason
        assert here.told("Ready")[1] == reason
        assert here.told("CredentialsVerified") == ("Unknown", "Pending")
        assert here.world.events == events
        assert here.steps().count("status") == 1


@pytest.mark.parametrize("garbage", [200, 502])
@pytest.mark.parametrize("step", ["list", "ensure"])
async def test_an_answer_that_makes_no_sense_is_no_answer(step: str, garbage: int) -> None:
    async with managed(granted()) as here:
        here.fail(step, garbage, garbage=True)
        assert isinstance(await here.try_to_look(), errors.Retryable)
        assert here.told("PolicySynced") == ("Unknown", "APIUnavailable")


async def test_a_wait_that_coreweave_asks_for_reaches_the_queue() -> None:
    async with managed(granted()) as here:
        here.fail("ensure", 429, retry_after="40")
        error = await here.try_to_look()
        assert isinstance(error, errors.RateLimited)
        assert error.retry_after_seconds == 40


async def test_a_failed_list_is_not_asked_for_by_every_binding() -> None:
    others = [builders.binding(f"b{n}", grants=[GRANT]) for n in range(5)]
    async with managed(*others) as here:
        here.fail("list", 500)
        for n in range(5):
            assert await here.try_to_look(f"b{n}") is not None
        assert here.steps().count("list") == 1


TOKENS: list[builders.Json | None] = [
    None,
    raw_secret(),
    raw_secret(other="eA=="),
    secret(""),
    secret(" \n"),
    secret("two words"),
    raw_secret(token="%%%"),
    raw_secret(token="é"),
    raw_secret(token="//79"),
    {"metadata": {}},
]


@pytest.mark.parametrize("found", TOKENS, ids=range(len(TOKENS)))
async def test_a_token_that_is_none_is_told_and_nothing_is_sent(
    found: builders.Json | None,
) -> None:
    async with managed(granted()) as here:
        (path,) = here.cluster.stored
        del here.cluster.stored[path]
        if found is not None:
            here.cluster.stored[path] = found
        assert isinstance(await here.try_to_look(), errors.Terminal)
        assert here.told("PolicySynced") == ("False", "PermissionDenied")
        assert (
            "condition APITokenValid says what to do" in here.condition("PolicySynced")["message"]
        )
        assert here.organization.tokens == []
        assert here.finalizers == []


async def test_a_secret_that_may_not_be_read_is_no_token() -> None:
    async with managed(granted()) as here:
        here.fail("secret", 403)
        assert isinstance(await here.try_to_look(), TokenMissing)
        assert here.told("PolicySynced") == ("False", "PermissionDenied")


async def test_other_bindings_do_not_suffer_from_one_that_is_refused() -> None:
    other = builders.binding("other", grants=[GRANT])
    async with managed(granted(), other) as here:
        here.fail("ensure", 400)
        assert await here.try_to_look() is not None
        here.heal()
        assert await here.try_to_look("other") is None
        assert here.told("PolicySynced", "other") == ("True", "Synced")
