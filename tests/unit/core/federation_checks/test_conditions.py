"""What a federation says about itself, in the order in which it is to be put right."""

from dataclasses import replace

import pytest

import builders
from caios_federation.api.conditions import ConditionType, Finding, Reason, Status
from caios_federation.core.conditions import ready
from caios_federation.core.federation_checks import judge_federation
from caios_federation.core.observed import ObservedFederation

VALID = Finding(Status.TRUE, Reason.VALID, "known")
REFUSED = Finding(Status.FALSE, Reason.UNAUTHORIZED, "not known")
TRUSTED = Finding(Status.TRUE, Reason.REGISTERED, "trusted")
SERVED = Finding(Status.TRUE, Reason.SERVING, "ready")
EVERYTHING = ObservedFederation(
    federation=builders.parsed_federation(
        apiTokenSecretName="coreweave", trustManagement="Observed"
    ),
    discovered_issuer=builders.ISSUER,
    discovery_problem="",
    bindings_total=0,
    bindings_ready=0,
    api_token=VALID,
    trust=TRUSTED,
    injection=SERVED,
)


def trust(seen: ObservedFederation) -> Finding:
    return judge_federation(seen)[ConditionType.TRUST_REGISTERED]


def test_the_conditions_stand_in_the_order_of_a_repair() -> None:
    findings = judge_federation(EVERYTHING)
    assert list(findings) == [
        ConditionType.ISSUER_DISCOVERED,
        ConditionType.API_TOKEN_VALID,
        ConditionType.TRUST_REGISTERED,
        ConditionType.INJECTION_SERVING,
    ]
    assert list(findings.values())[1:] == [VALID, TRUSTED, SERVED]
    assert ready(findings).reason is Reason.READY


@pytest.mark.parametrize("management", ["Unmanaged", "Observed"])
def test_without_an_api_token_neither_token_nor_trust_is_judged(management: str) -> None:
    spec = builders.parsed_federation(trustManagement=management)
    findings = judge_federation(replace(EVERYTHING, federation=spec))
    assert set(findings) == {ConditionType.ISSUER_DISCOVERED, ConditionType.INJECTION_SERVING}


def test_a_trust_that_nobody_asked_to_look_at_is_left_out() -> None:
    spec = builders.parsed_federation(apiTokenSecretName="coreweave")
    findings = judge_federation(replace(EVERYTHING, federation=spec))
    assert ConditionType.API_TOKEN_VALID in findings
    assert ConditionType.TRUST_REGISTERED not in findings


def test_without_an_issuer_there_is_nothing_to_trust_yet() -> None:
    assert trust(replace(EVERYTHING, discovered_issuer=None)) == Finding(
        Status.UNKNOWN,
        Reason.PENDING,
        "The issuer is not known yet; the condition IssuerDiscovered says why",
    )


def test_without_a_token_that_works_nobody_can_be_asked_about_the_trust() -> None:
    seen = replace(EVERYTHING, api_token=REFUSED, trust=None)
    assert trust(seen) == Finding(
        Status.UNKNOWN,
        Reason.PENDING,
        "CoreWeave cannot be asked about the trust; the condition APITokenValid says why",
    )
    assert ready(judge_federation(seen)) == REFUSED


def test_what_was_not_asked_yet_is_never_ready() -> None:
    seen = replace(EVERYTHING, api_token=None, trust=None)
    findings = judge_federation(seen)
    assert {
        kind: findings[kind].reason
        for kind in (ConditionType.API_TOKEN_VALID, ConditionType.TRUST_REGISTERED)
    } == {
        ConditionType.API_TOKEN_VALID: Reason.PENDING,
        ConditionType.TRUST_REGISTERED: Reason.PENDING,
    }
    assert ready(findings).status is Status.UNKNOWN
