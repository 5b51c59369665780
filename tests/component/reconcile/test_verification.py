"""Proving an identity: what is asked for, when, and what each answer comes to."""

import dataclasses
import datetime as dt
from typing import Any

import pytest

import builders
from caios_federation.clients import errors
from component.reconcile.managed import (
    GRANT,
    JWT,
    NAME,
    Managed,
    granted,
    managed,
)

PROOF = ["token", "exchange"]
VERIFIED = ("True", "Verified")
PENDING = ("Unknown", "Pending")
AUDIENCE = "https://coreweave.com/iam"


def seen_at(here: Managed) -> str | None:
    found: str | None = here.status().get("lastVerifiedTime")
    return found


def token_requests(here: Managed) -> list[builders.Json]:
    return [seen.json for seen in here.world.server.seen if seen.path.endswith("/token")]


def plain(**spec: Any) -> Any:  # noqa: ANN401  # a context manager
    """Return a world of a binding that is granted nothing, whose policies a person applies."""
    return managed(builders.binding(), policyManagement="Rendered", **spec)


async def test_a_short_token_for_the_bindings_audience_is_exchanged_as_an_sdk_does_it() -> None:
    async with managed(granted(audience=AUDIENCE)) as here:
        await here.look()
        (request,) = token_requests(here)
        assert request["spec"] == {"audiences": [AUDIENCE], "expirationSeconds": 600}
        assert here.organization.tokens[-1] == JWT
        (path,) = (s.path for s in here.world.server.seen if s.path.endswith("/token"))
        assert path == "/api/v1/namespaces/team-a/serviceaccounts/reader/token"
        assert here.told("CredentialsVerified") == VERIFIED
        assert seen_at(here) == "2026-11-24T12:00:00Z"
        assert here.world.events.count("CredentialsVerified") == 1


async def test_what_was_proven_lately_is_not_tried_again() -> None:
    async with plain() as here:
        await here.look()
        here.steps()
        here.world.clock.advance(3599)
        await here.look()
        assert here.steps() == ["pods"]
        here.world.clock.advance(1)
        await here.look()
        assert here.steps() == [*PROOF, "pods", "status"]
        assert seen_at(here) == "2026-11-24T13:00:00Z"
        assert here.world.events == ["CredentialsVerified"]


async def test_a_new_process_believes_the_status() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.steps()
        here.restart()
        await here.look()
        assert not set(PROOF) & set(here.steps())


async def test_another_identity_is_proven_anew() -> None:
    async with plain() as here:
        await here.look()
        here.steps()
        here.federate(policyManagement="Rendered", audience=AUDIENCE)
        await here.look()
        assert here.steps() == [*PROOF, "pods", "status"]


async def test_a_policy_that_is_written_again_is_proven_again() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.steps()
        del here.organization.policies[NAME]
        here.restart()
        await here.look()
        assert [step for step in here.steps() if step in {"ensure", *PROOF}] == ["ensure", *PROOF]


async def test_nothing_is_proven_before_the_policy_is_there() -> None:
    async with managed(granted()) as here:
        here.fail("ensure", 403)
        await here.try_to_look()
        assert not set(PROOF) & set(here.steps())
        assert here.told("CredentialsVerified") == PENDING
        assert "once the policy is applied" in here.condition("CredentialsVerified")["message"]
        assert seen_at(here) is None


async def test_a_proof_holds_while_coreweave_cannot_be_asked_about_the_policy() -> None:
    async with managed(granted()) as here:
        await here.look()
        before = here.condition("CredentialsVerified")
        here.restart()
        here.fail("list", 500)
        here.world.clock.advance(7200)
        await here.try_to_look()
        assert here.told("PolicySynced") == ("Unknown", "APIUnavailable")
        assert here.condition("CredentialsVerified") == before
        assert seen_at(here) == "2026-11-24T12:00:00Z"


async def test_a_proof_of_other_grants_does_not_hold_for_those_that_cannot_be_applied() -> None:
    async with managed(granted()) as here:
        await here.look()
        known = here.cluster.known["FederatedStorageBinding", "reader"]
        grants = [{**GRANT, "buckets": ["logs"]}]
        here.world.know({**known, "spec": {**known["spec"], "grants": grants}})
        here.fail("ensure", 500)
        await here.try_to_look()
        assert here.told("CredentialsVerified") == PENDING


async def test_without_a_service_account_there_is_nothing_to_try() -> None:
    async with plain() as here:
        here.world.forget(builders.service_account())
        assert await here.look() is None
        assert not set(PROOF) & set(here.steps())
        assert here.told("CredentialsVerified") == PENDING


async def test_a_service_account_that_is_gone_by_then_is_no_failure() -> None:
    async with plain() as here:
        here.fail("token", 404)
        await here.look()
        assert here.told("CredentialsVerified") == PENDING
        assert "exchange" not in here.steps()


async def test_verification_that_is_switched_off_says_nothing() -> None:
    async with plain() as here:
        await here.look()
        here.federate(policyManagement="Rendered", verification="Disabled")
        here.steps()
        await here.look()
        assert here.condition("CredentialsVerified") == {}
        assert seen_at(here) is None
        assert not set(PROOF) & set(here.steps())


async def test_a_right_that_is_missing_is_told_with_what_to_do() -> None:
    async with plain() as here:
        here.fail("token", 403, message="serviceaccounts/token is forbidden")
        assert await here.look() == 60
        assert here.told("CredentialsVerified") == ("False", "VerificationFailed")
        message = here.condition("CredentialsVerified")["message"]
        assert "create serviceaccounts/token" in message
        assert "verification: Disabled" in message


@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 429}, {"status": 200, "garbage": True}]
)
async def test_an_api_server_that_makes_no_token_keeps_no_status_from_being_written(
    fault: dict[str, Any],
) -> None:
    async with managed(granted()) as here:
        here.fail("token", **fault)
        assert isinstance(await here.try_to_look(), errors.Retryable)
        assert here.told("PolicySynced") == ("True", "Synced")
        assert here.told("CredentialsVerified") == PENDING
        assert here.world.events == ["PolicyApplied"]


async def test_a_rejected_token_is_told_with_issuer_and_audience_once() -> None:
    async with plain(audience=AUDIENCE) as here:
        here.fail("exchange", 400)
        for _ in range(3):
            assert await here.look() == 60
        assert here.told("CredentialsVerified") == ("False", "TokenRejected")
        message = here.condition("CredentialsVerified")["message"]
        assert f"issuer {builders.ISSUER} and audience {AUDIENCE}" in message
        assert here.world.events == ["TokenRejected"]
        assert here.steps().count("status") == 1
        assert seen_at(here) is None


async def test_a_denied_mint_is_told_with_the_statement_that_is_missing_once() -> None:
    async with plain() as here:
        here.fail("exchange", 403)
        for _ in range(3):
            assert await here.look() == 60
        assert here.told("CredentialsVerified") == ("False", "MintDenied")
        message = here.condition("CredentialsVerified")["message"]
        assert f"cwobject:CreateAccessKeyOIDC on * to {builders.PRINCIPAL}" in message
        assert "by spec.grants of a binding" in message  # it has none, so no document either
        assert here.world.events == ["MintDenied"]
        here.heal()
        assert await here.look() is None
        assert here.world.events == ["MintDenied", "CredentialsVerified"]
        assert here.told("CredentialsVerified") == VERIFIED


async def test_a_managed_binding_without_grants_is_told_to_have_some() -> None:
    async with managed(builders.binding()) as here:
        here.fail("exchange", 403)
        await here.look()
        message = here.condition("CredentialsVerified")["message"]
        assert "grant it something by spec.grants" in message


async def test_a_binding_whose_policy_is_applied_is_not_told_to_have_grants() -> None:
    async with managed(granted()) as here:
        acting = here.world.acting
        verification = acting.settings.verification.model_copy(update={"grace_seconds": 0})
        settings = acting.settings.model_copy(update={"verification": verification})
        here.world.acting = dataclasses.replace(acting, settings=settings)
        here.fail("exchange", 403)
        await here.look()
        assert here.told("CredentialsVerified") == ("False", "MintDenied")
        message = here.condition("CredentialsVerified")["message"]
        assert "the policy of this binding has one" in message


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 200, "garbage": True},
        {"status": 404},
        {"status": 401},
        {"status": 302},
        {"status": 200, "message": "an object without keys"},
    ],
)
async def test_an_answer_of_somebody_else_is_told_apart(fault: dict[str, Any]) -> None:
    async with plain() as here:
        here.fail("exchange", **fault)
        assert await here.look() == 60
        assert here.told("CredentialsVerified") == ("False", "VerificationFailed")
        message = here.condition("CredentialsVerified")["message"]
        assert "check spec.endpoints.api and spec.organizationID" in message
        assert here.world.events == []


async def test_an_address_that_tokens_must_not_go_to_is_told_as_such() -> None:
    async with plain(endpoints={"api": "http://api.example.com"}) as here:
        await here.look()
        assert here.told("CredentialsVerified") == ("False", "VerificationFailed")
        message = here.condition("CredentialsVerified")["message"]
        assert message.startswith("No token is sent to http://api.example.com/")
        assert "use https://" in message


@pytest.mark.parametrize("status", [500, 502, 503, 429])
async def test_a_service_in_trouble_says_nothing_of_the_identity(status: int) -> None:
    async with plain() as here:
        here.fail("exchange", status)
        for _ in range(2):
            assert isinstance(await here.try_to_look(), errors.Retryable)
        assert here.told("CredentialsVerified") == ("Unknown", "APIUnavailable")
        assert here.steps().count("status") == 1
        assert here.world.events == []


async def test_a_service_that_does_not_answer_in_time_is_in_trouble() -> None:
    async with plain() as here:
        here.fail("exchange", hang=True)
        assert isinstance(await here.try_to_look(), errors.Unavailable)
        assert here.told("CredentialsVerified") == ("Unknown", "APIUnavailable")


async def test_a_failure_after_a_proof_is_not_hidden_once_the_period_is_over() -> None:
    async with plain() as here:
        await here.look()
        here.world.clock.advance(3600)
        here.fail("exchange", 403)
        await here.look()
        assert here.told("CredentialsVerified") == ("False", "MintDenied")
        assert seen_at(here) == "2026-11-24T12:00:00Z"


async def test_a_policy_that_is_not_in_force_yet_is_no_failure() -> None:
    async with managed(granted()) as here:
        here.fail("exchange", 403)
        assert await here.look() == 5
        assert here.told("CredentialsVerified") == PENDING
        assert "MintDenied" in here.condition("CredentialsVerified")["message"]
        for _ in range(3):
            here.world.clock.advance(30)
            assert await here.look() == 5
        assert here.steps().count("status") == 1
        assert here.world.events == ["PolicyApplied"]
        here.heal()
        assert await here.look() is None
        assert here.told("CredentialsVerified") == VERIFIED


async def test_a_policy_that_never_gets_in_force_is_a_failure_after_the_grace_time() -> None:
    async with managed(granted()) as here:
        here.fail("exchange", 403)
        await here.look()
        here.restart()
        here.world.clock.advance(119)
        assert await here.look() == 5
        here.world.clock.advance(1)
        assert await here.look() == 60
        assert here.told("CredentialsVerified") == ("False", "MintDenied")
        here.world.clock.advance(600)
        assert await here.look() == 60
        assert here.told("CredentialsVerified") == ("False", "MintDenied")
        assert here.world.events == ["PolicyApplied", "MintDenied"]


async def test_a_policy_that_is_repaired_has_its_grace_time_too() -> None:
    async with managed(granted()) as here:
        await here.look()
        here.world.clock.advance(1800)
        del here.organization.policies[NAME]
        here.restart()
        here.fail("exchange", 403)
        assert await here.look() == 5
        assert here.told("CredentialsVerified") == PENDING
        here.world.clock.advance(119)
        assert await here.look() == 5
        here.world.clock.advance(1)
        assert await here.look() == 60
        assert here.told("CredentialsVerified") == ("False", "MintDenied")


async def test_the_grace_time_is_of_the_policy_however_the_first_try_ended() -> None:
    async with managed(granted()) as here:
        here.fail("exchange", 500)
        assert isinstance(await here.try_to_look(), errors.Unavailable)
        here.fail("exchange", 403)
        here.restart()
        here.world.clock.advance(119)
        assert await here.look() == 5
        assert here.told("CredentialsVerified") == PENDING


async def test_a_policy_of_a_person_has_no_grace_time() -> None:
    async with managed(granted(), policyManagement="Rendered") as here:
        here.fail("exchange", 403)
        assert await here.look() == 60
        assert here.told("CredentialsVerified") == ("False", "MintDenied")


@pytest.mark.parametrize(
    ("management", "ago", "expected"),
    [
        ("Managed", 60, PENDING),
        ("Managed", 180, ("False", "TokenRejected")),
        ("Observed", 60, ("False", "TokenRejected")),
    ],
)
async def test_trust_that_was_just_registered_has_its_grace_time(
    management: str, ago: int, expected: tuple[str, str]
) -> None:
    async with plain() as here:
        moment = here.world.clock.now - dt.timedelta(seconds=ago)
        body = builders.federation(
            apiTokenSecretName="coreweave",
            verification="Enabled",
            trustManagement=management,
            endpoints={"api": here.organization.url},
        )
        condition = {
            "type": "TrustRegistered",
            "status": "True",
            "reason": "Registered",
            "message": "m",
            "lastTransitionTime": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        here.world.know({**body, "status": {"conditions": [condition]}})
        here.fail("exchange", 400)
        await here.look()
        assert here.told("CredentialsVerified") == expected
