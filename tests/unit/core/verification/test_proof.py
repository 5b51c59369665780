"""When an identity was proven, and what an answer to a try means."""

import datetime as dt
from typing import Any

import pytest

import builders
from caios_federation.api.conditions import ConditionType, Reason, Status
from caios_federation.core.verification import (
    changed_lately,
    mint_denied,
    not_in_force,
    proven,
    same_proof,
    token_rejected,
    turned,
    verified,
)

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
VALUES = builders.resolved(builders.bound())
FACTS: builders.Json = {
    "issuer": builders.ISSUER,
    "audience": "aud",
    "principal": builders.PRINCIPAL,
    "credentialsURI": builders.URI,
    "policy": {"name": "n", "digest": "sha256:1", "document": "{}"},
}


def condition(status: str = "True", reason: str = "Verified", **fields: Any) -> builders.Json:  # noqa: ANN401  # JSON
    body = {"type": "CredentialsVerified", "status": status, "reason": reason, "message": "m"}
    return {**body, **fields}


def stated(
    *,
    ago: dt.timedelta = dt.timedelta(minutes=5),
    verified: builders.Json | None = None,
    **facts: Any,  # noqa: ANN401  # JSON
) -> builders.Json:
    """Return a status in which FACTS, or other `facts`, were proven some time `ago`."""
    return {
        **FACTS,
        "lastVerifiedTime": (NOW - ago).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "conditions": [verified or condition()],
        **facts,
    }


def is_proven(status: builders.Json, facts: builders.Json = FACTS) -> bool:
    return proven(status, facts, NOW, HOUR) is not None


def test_what_was_proven_lately_is_known() -> None:
    known = proven(stated(), FACTS, NOW, HOUR)
    assert known is not None
    assert (known.status, known.reason, known.message) == (Status.TRUE, Reason.VERIFIED, "m")


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, True), (3599, True), (3600, False), (86400, False), (-60, False)]
)
def test_a_proof_holds_for_the_period_and_never_from_the_future(
    *, seconds: int, expected: bool
) -> None:
    assert is_proven(stated(ago=dt.timedelta(seconds=seconds))) == expected


@pytest.mark.parametrize("time", [None, "", "soon", "2026-11-24T11:59:00", 5, ["x"]])
def test_a_proof_of_an_unknown_time_is_none(time: object) -> None:
    assert not is_proven(stated(lastVerifiedTime=time))


@pytest.mark.parametrize("fact", ["issuer", "audience", "principal", "credentialsURI"])
def test_a_proof_of_another_fact_is_none(fact: str) -> None:
    assert not is_proven({**stated(), fact: "another"})
    assert not is_proven({key: text for key, text in stated().items() if key != fact})


@pytest.mark.parametrize("policy", [None, {}, {"digest": "sha256:2"}])
def test_a_proof_of_another_policy_is_none(policy: builders.Json | None) -> None:
    assert not is_proven(stated(policy=policy))
    assert not is_proven(stated(), {**FACTS, "policy": policy})


def test_a_policy_of_another_name_or_look_is_the_same_proof() -> None:
    assert same_proof(stated(policy={"digest": "sha256:1"}), FACTS)
    without = {key: fact for key, fact in FACTS.items() if key != "policy"}
    assert same_proof({**without, "pods": {"total": 3}}, without)


@pytest.mark.parametrize(
    "before",
    [
        condition("False", "MintDenied"),
        condition("Unknown", "Pending"),
        condition("True", "SomethingNew"),
        condition("True", "Registered"),
        condition("Maybe"),
        {"type": "CredentialsVerified"},
        {"type": "Ready", "status": "True", "reason": "Verified", "message": "m"},
    ],
)
def test_what_was_not_verified_is_not_proven(before: builders.Json) -> None:
    assert not is_proven(stated(verified=before))
    assert not is_proven({})


def test_a_change_is_late_only_within_the_grace_time() -> None:
    grace = dt.timedelta(seconds=120)
    ago = [NOW - dt.timedelta(seconds=seconds) for seconds in (119, 120, 121)]
    assert [changed_lately((moment,), NOW, grace) for moment in ago] == [True, False, False]
    assert changed_lately((None, ago[2], ago[0]), NOW, grace)
    assert not changed_lately((None, ago[2]), NOW, grace)
    assert not changed_lately((), NOW, grace)
    assert not changed_lately((NOW,), NOW, dt.timedelta())


def test_a_condition_turned_when_its_status_says_so() -> None:
    kind = ConditionType.CREDENTIALS_VERIFIED
    status = {"conditions": [condition(lastTransitionTime="2026-11-24T11:58:00Z")]}
    assert turned(status, kind, Status.TRUE) == NOW - dt.timedelta(minutes=2)
    assert turned(status, kind, Status.FALSE) is None
    assert turned(status, ConditionType.POLICY_SYNCED, Status.TRUE) is None
    assert turned({}, kind, Status.TRUE) is None
    for odd in (None, "yesterday", "2026-11-24T11:58:00", 7):
        odd_status = {"conditions": [condition(lastTransitionTime=odd)]}
        assert turned(odd_status, kind, Status.TRUE) is None


def test_a_rejected_token_is_told_with_what_to_register() -> None:
    finding = token_rejected(VALUES)
    assert (finding.status, finding.reason) == (Status.FALSE, Reason.TOKEN_REJECTED)
    assert finding.message == (
        f"CoreWeave did not accept the token with issuer {builders.ISSUER} and audience "
        f"{builders.ISSUER}; register an OIDC configuration with exactly this Issuer URL and "
        "Client ID (Audience), and see that it is active"
    )


@pytest.mark.parametrize(
    ("granted", "applied", "next_step"),
    [
        (False, False, "grant it something by spec.grants"),
        (True, True, "the policy of this binding has one: see in the Console"),
        (True, False, "apply status.policy.document"),
    ],
)
def test_a_denied_mint_is_told_with_the_statement_that_is_missing(
    *, granted: bool, applied: bool, next_step: str
) -> None:
    finding = mint_denied(VALUES, granted=granted, applied=applied)
    assert (finding.status, finding.reason) == (Status.FALSE, Reason.MINT_DENIED)
    statement = f"allows cwobject:CreateAccessKeyOIDC on * to {builders.PRINCIPAL};"
    assert statement in finding.message
    assert next_step in finding.message


def test_a_refusal_that_says_nothing_yet_is_pending_and_of_stable_words() -> None:
    finding = not_in_force(mint_denied(VALUES, granted=True, applied=True))
    assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.PENDING)
    assert "(MintDenied)" in finding.message
    assert "tried again" in finding.message


def test_what_is_verified_is_true() -> None:
    assert (verified().status, verified().reason) == (Status.TRUE, Reason.VERIFIED)
    assert "lastVerifiedTime" in verified().message
