"""Issuer and audience decide to the letter; what is missing is told so that it can be entered."""

import re
from dataclasses import replace

import pytest

import builders
from caios_federation.api.conditions import ConditionType, Finding, Reason, Status
from caios_federation.api.federation import TrustManagement
from caios_federation.core.conditions import merge_conditions
from caios_federation.core.principal import Issuer
from caios_federation.core.trust import (
    CONSOLE,
    OIDCConfiguration,
    TrustVerdict,
    judge_trust,
    wanted_trust,
)

IAM = "https://coreweave.com/iam"
OBSERVED, MANAGED = TrustManagement.OBSERVED, TrustManagement.MANAGED
WANTED = wanted_trust(builders.parsed_federation(), builders.ISSUER)
OURS = replace(WANTED, uid="uid-ours")
THEIRS = replace(WANTED, uid="uid-theirs", name="cluster")
UNRELATED = OIDCConfiguration("uid-9", "other", "https://other.example", IAM, active=True)


def off(configuration: OIDCConfiguration) -> OIDCConfiguration:
    return replace(configuration, active=False)


def judged(*registered: OIDCConfiguration, management: TrustManagement = OBSERVED) -> TrustVerdict:
    return judge_trust(WANTED, registered, management)


def enters(finding: Finding, name: str) -> bool:
    """Tell whether `finding` has the three values as they are to be entered, and where."""
    values = f"name: {name}, Issuer URL: {builders.ISSUER}, Client ID (Audience): {builders.ISSUER}"
    return f"{values}; " in finding.message and CONSOLE in finding.message


# What is needed ---------------------------------------------------------------------------------


def test_issuer_and_audience_are_those_of_the_federation() -> None:
    federation = builders.parsed_federation(audience=IAM)
    wanted = wanted_trust(federation, builders.ISSUER)
    assert (wanted.issuer_url, wanted.audience, wanted.active) == (builders.ISSUER, IAM, True)
    assert wanted.uid == ""


def test_without_an_audience_it_is_the_issuer() -> None:
    assert WANTED.audience == builders.ISSUER


def test_two_audiences_of_a_cluster_have_two_names() -> None:
    names = {
        wanted_trust(builders.parsed_federation(**spec), builders.ISSUER).name
        for spec in ({}, {"audience": IAM}, {"audience": f"{IAM}/"}, {"audience": "ö" * 1024})
    }
    assert len(names) == 4
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,255}", name) for name in names)


def test_a_name_never_changes() -> None:
    """An OIDC configuration that was made under it would not be known as ours any more."""
    assert WANTED.name == "cks-d185efff"
    custom = wanted_trust(builders.parsed_federation(audience=IAM), builders.ISSUER)
    assert custom.name == "cks-d185efff-0877510b"


# What is registered -----------------------------------------------------------------------------


@pytest.mark.parametrize("management", [OBSERVED, MANAGED])
@pytest.mark.parametrize("found", [OURS, THEIRS])
def test_an_active_one_of_any_name_will_do(
    found: OIDCConfiguration, management: TrustManagement
) -> None:
    message = (
        f"CoreWeave trusts the tokens of this cluster: name: {found.name}, "
        f"Issuer URL: {builders.ISSUER}, Client ID (Audience): {builders.ISSUER}"
    )
    expected = Finding(Status.TRUE, Reason.REGISTERED, message)
    assert judged(UNRELATED, found, management=management) == TrustVerdict(expected)


@pytest.mark.parametrize("management", [OBSERVED, MANAGED])
def test_of_several_one_active_is_enough(management: TrustManagement) -> None:
    verdict = judged(off(OURS), THEIRS, management=management)
    assert verdict.finding.reason is Reason.REGISTERED
    assert "name: cluster," in verdict.finding.message
    assert verdict.change is None


def test_what_is_said_does_not_depend_on_the_order() -> None:
    other = replace(THEIRS, uid="uid-a", name="another")
    assert judged(THEIRS, other) == judged(other, THEIRS)
    assert judged(off(THEIRS), off(other)) == judged(off(other), off(THEIRS))


@pytest.mark.parametrize("registered", [(), (UNRELATED,)])
def test_a_missing_one_is_told_as_it_is_to_be_entered(
    registered: tuple[OIDCConfiguration, ...],
) -> None:
    assert judged(*registered) == TrustVerdict(
        Finding(
            Status.FALSE,
            Reason.NOT_REGISTERED,
            f"This OIDC configuration is missing: name: cks-d185efff, Issuer URL: "
            f"{builders.ISSUER}, Client ID (Audience): {builders.ISSUER}; create it at "
            "https://console.coreweave.com/organization/iam/workload-federation/oidc",
        )
    )


def test_a_missing_one_is_created_where_that_was_asked_for() -> None:
    verdict = judged(UNRELATED, management=MANAGED)
    assert verdict.change == WANTED
    assert verdict.finding == judged(UNRELATED).finding


@pytest.mark.parametrize("found", [OURS, THEIRS])
def test_a_deactivated_one_is_told(found: OIDCConfiguration) -> None:
    verdict = judged(off(found))
    assert (verdict.finding.status, verdict.finding.reason) == (Status.FALSE, Reason.INACTIVE)
    assert enters(verdict.finding, found.name)
    assert verdict.finding.message.endswith(f"; activate it at {CONSOLE}")
    assert verdict.change is None


def test_a_deactivated_one_of_ours_is_activated() -> None:
    assert judged(off(THEIRS), off(OURS), management=MANAGED).change == OURS


def test_a_deactivated_one_of_somebody_else_stays_so() -> None:
    """Who deactivated it had a reason; and there can be no second one of the same values."""
    verdict = judged(off(THEIRS), management=MANAGED)
    assert verdict.change is None
    assert verdict.finding.reason is Reason.INACTIVE
    assert "it does not have the name of ours, so it is left alone" in verdict.finding.message
    assert enters(verdict.finding, "cluster")


# Managed: only what has our name ----------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        {"audience": IAM},
        {"issuer_url": f"{builders.ISSUER}/"},
        {"issuer_url": "https://other.example", "audience": IAM},
        {"audience": IAM, "active": False},
    ],
)
def test_one_of_our_name_is_put_right(changed: dict[str, object]) -> None:
    found = replace(OURS, **changed)  # type: ignore[arg-type]  # fields by name
    assert judged(found, management=MANAGED).change == OURS
    assert judged(found).change is None


def test_beside_one_of_another_name_a_new_one_is_created() -> None:
    found = replace(THEIRS, audience=IAM)
    assert judged(found, management=MANAGED).change == WANTED


def test_of_two_of_our_name_the_same_one_is_put_right_each_time() -> None:
    one, other = (replace(OURS, uid=uid, audience=IAM) for uid in ("uid-1", "uid-2"))
    for registered in ((one, other), (other, one)):
        assert judge_trust(WANTED, registered, MANAGED).change == replace(WANTED, uid="uid-1")


# Length -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("registered", [(), (THEIRS,), (off(THEIRS),)])
def test_values_of_realistic_length_survive_the_limit_of_a_message(
    registered: tuple[OIDCConfiguration, ...],
) -> None:
    issuer = Issuer("https://" + "i" * 240)
    wanted = wanted_trust(builders.parsed_federation(audience="a" * 250), issuer)
    found = [replace(wanted, uid="u", name="n" * 255, active=entry.active) for entry in registered]
    finding = judge_trust(wanted, found, OBSERVED).finding
    assert f"Issuer URL: {issuer}, Client ID (Audience): {'a' * 250}" in finding.message
    assert len(finding.message) < 1024


LONGEST = wanted_trust(
    builders.parsed_federation(audience="ä" * 1024), Issuer("https://" + "i" * 1016)
)
NEAR_LONGEST = {
    "none": [],
    "it": [replace(LONGEST, name="n" * 1024)],
    "deactivated": [replace(LONGEST, name="n" * 1024, active=False)],
    "swapped": [replace(LONGEST, issuer_url=LONGEST.audience, audience=LONGEST.issuer_url)],
    "other audience": [replace(LONGEST, audience="\x1b" * 1024)],
    "other spelling": [
        replace(LONGEST, issuer_url=LONGEST.issuer_url.upper(), audience="Ä" * 1023 + "ä/")
    ],
    "alike": [replace(LONGEST, issuer_url=f"{LONGEST.issuer_url}/", audience="x" * 1024)],
    "our name": [replace(LONGEST, issuer_url="x" * 1024, audience="x" * 1024)],
}


@pytest.mark.parametrize("management", [OBSERVED, MANAGED])
@pytest.mark.parametrize("near", NEAR_LONGEST)
def test_the_longest_issuer_and_audience_are_told_in_full(
    near: str, management: TrustManagement
) -> None:
    finding = judge_trust(LONGEST, NEAR_LONGEST[near], management).finding
    conditions = merge_conditions(
        [], {ConditionType.TRUST_REGISTERED: finding}, generation=1, now=""
    )
    values = f"Issuer URL: {LONGEST.issuer_url}, Client ID (Audience): {LONGEST.audience}"
    assert values in conditions[0].message
    assert conditions[0].message == finding.message, "something was cut"
