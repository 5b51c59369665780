"""What is almost right is wrong; people are told which one it is, and by what it differs."""

from dataclasses import replace

import pytest

import builders
from caios_federation.api.conditions import Reason
from caios_federation.api.federation import TrustManagement
from caios_federation.core.trust import CONSOLE, OIDCConfiguration, judge_trust, wanted_trust

ISSUER = builders.ISSUER
IAM = "https://coreweave.com/iam"
BY_ISSUER = wanted_trust(builders.parsed_federation(), ISSUER)
BY_IAM = wanted_trust(builders.parsed_federation(audience=IAM), ISSUER)


def registered(issuer: str, audience: str, name: str = "cluster") -> OIDCConfiguration:
    return OIDCConfiguration(f"uid-{name}", name, issuer, audience, active=True)


def hint(wanted: OIDCConfiguration, *found: OIDCConfiguration) -> str:
    """Return what is said behind the values that are to be entered."""
    finding = judge_trust(wanted, found, TrustManagement.OBSERVED).finding
    assert finding.reason is Reason.NOT_REGISTERED
    values = (
        f"name: {wanted.name}, Issuer URL: {wanted.issuer_url}, "
        f"Client ID (Audience): {wanted.audience}; create it at {CONSOLE}"
    )
    head, found_values, tail = finding.message.partition(values)
    assert (head, found_values) == ("This OIDC configuration is missing: ", values)
    return tail


NEAR_MISSES = {
    "another audience": (
        BY_ISSUER,
        registered(ISSUER, IAM),
        (
            "trusts this issuer with the Client ID (Audience) 'https://coreweave.com/iam': to use "
            "that one, set spec.audience to it"
        ),
    ),
    "a slash behind the issuer": (
        BY_IAM,
        registered(f"{ISSUER}/", IAM),
        f"is not it: its Issuer URL '{ISSUER}/' differs by a trailing slash",
    ),
    "a slash behind the audience": (
        BY_IAM,
        registered(ISSUER, f"{IAM}/"),
        f"is not it: its Client ID (Audience) '{IAM}/' differs by a trailing slash",
    ),
    "a slash behind both": (
        BY_ISSUER,
        registered(f"{ISSUER}/", f"{ISSUER}/"),
        (
            f"is not it: its Issuer URL '{ISSUER}/' differs by a trailing slash and its Client ID "
            f"(Audience) '{ISSUER}/' differs by a trailing slash"
        ),
    ),
    "capitals": (
        BY_IAM,
        registered(ISSUER.upper(), IAM),
        f"is not it: its Issuer URL '{ISSUER.upper()}' differs by upper and lower case",
    ),
    "capitals and a slash": (
        BY_IAM,
        registered(f"{ISSUER.upper()}/", IAM),
        (
            f"is not it: its Issuer URL '{ISSUER.upper()}/' differs by a trailing slash "
            "and upper and lower case"
        ),
    ),
    "a slash behind the issuer, and another audience": (
        BY_ISSUER,
        registered(f"{ISSUER}/", IAM),
        (
            f"is not it: its Issuer URL '{ISSUER}/' differs by a trailing slash, and its Client ID "
            f"(Audience) is '{IAM}'"
        ),
    ),
    "the wrong way round": (
        BY_IAM,
        registered(IAM, ISSUER),
        "has Issuer URL and Client ID (Audience) the wrong way round",
    ),
    "our name on something else": (
        BY_ISSUER,
        registered("https://other.example", IAM, BY_ISSUER.name),
        f"is not it: its Issuer URL is 'https://other.example', its Client ID (Audience) '{IAM}'",
    ),
}


@pytest.mark.parametrize("kind", NEAR_MISSES)
def test_a_near_miss_is_told_to_the_letter(kind: str) -> None:
    wanted, found, told = NEAR_MISSES[kind]
    assert hint(wanted, found) == f"; the OIDC configuration {found.name!r} {told}"


def test_what_is_not_near_is_not_told() -> None:
    assert hint(BY_ISSUER, registered("https://other.example", IAM)) == ""


def test_another_cluster_with_the_same_audience_is_not_near() -> None:
    assert hint(BY_IAM, registered("https://other.example", IAM)) == ""


def test_the_nearest_is_told_whatever_the_order() -> None:
    near = registered(f"{ISSUER}/", IAM, "z")
    less = registered(ISSUER, "else", "a")
    assert hint(BY_IAM, less, near) == hint(BY_IAM, near, less) == hint(BY_IAM, near)


def test_what_is_swapped_is_not_missed_by_slash() -> None:
    """With the issuer as audience nothing can be the wrong way round."""
    assert "wrong way round" not in hint(BY_ISSUER, registered(f"{ISSUER}/", ISSUER))


def test_a_foreign_text_is_shown_safely_and_in_bounds() -> None:
    evil = replace(registered(ISSUER, "\x1b[31m\n" + "x" * 1024), name="n\n" * 500)
    told = hint(BY_ISSUER, evil)
    assert told.isprintable()
    assert len(told) < 400


def test_values_and_hint_of_real_lengths_fit_a_message() -> None:
    cks = "https://oidc.cks.coreweave.com/id/4f6e1a2b-3c4d-5e6f-8a9b-0c1d2e3f4a5b"
    wanted = replace(BY_ISSUER, issuer_url=cks, audience=cks)
    found = [registered(f"{cks}/", f"{cks}/", "n" * 255)]
    finding = judge_trust(wanted, found, TrustManagement.OBSERVED).finding
    assert len(finding.message) < 800
    assert finding.message.endswith("differs by a trailing slash")
