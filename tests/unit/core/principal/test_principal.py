"""The principal that policies name."""

import pytest

from builders import ISSUER, PRINCIPAL
from caios_federation.core.errors import ParseError
from caios_federation.core.principal import (
    Identity,
    Issuer,
    parse_principal,
    render_principal,
    render_principal_arn,
)

IDENTITY = Identity(ISSUER, "team-a", "reader")
BAD_NAMES = [
    "",
    "*",
    "a*",
    "a?",
    "[a]",
    "a\\b",
    "a b",
    "a\n",
    "\x00",
    "a:b",
    "a/b",
    "A",
    "\u00e4",
    "-a",
]


def test_a_principal_is_made_of_issuer_namespace_and_name() -> None:
    assert render_principal(IDENTITY) == (
        "role/https://oidc.cks.coreweave.com/id/4f6e1a2b:system:serviceaccount:team-a:reader"
    )


def test_a_principal_is_read_back() -> None:
    assert parse_principal(PRINCIPAL) == IDENTITY


def test_bucket_policies_take_a_longer_form() -> None:
    assert render_principal_arn("cw1234", render_principal(IDENTITY)) == (
        f"arn:aws:iam::cw1234:role/{ISSUER}:system:serviceaccount:team-a:reader"
    )


@pytest.mark.parametrize("namespace", [*BAD_NAMES, "a.b", "a" * 64, "system:serviceaccount:x"])
def test_a_namespace_that_could_reach_further_is_refused(namespace: str) -> None:
    with pytest.raises(ParseError, match="not the name of a Namespace"):
        render_principal(Identity(ISSUER, namespace, "reader"))


@pytest.mark.parametrize("name", [*BAD_NAMES, "a" * 254, ".a", "a."])
def test_a_name_that_could_reach_further_is_refused(name: str) -> None:
    with pytest.raises(ParseError, match="not the name of a ServiceAccount"):
        render_principal(Identity(ISSUER, "team-a", name))


@pytest.mark.parametrize("name", ["a", "a.b", "0", "a-b", "a" * 253])
def test_every_name_of_a_service_account_is_taken(name: str) -> None:
    identity = Identity(ISSUER, "team-a", name)
    assert parse_principal(render_principal(identity)) == identity


def test_an_issuer_that_was_never_looked_at_is_refused() -> None:
    with pytest.raises(ParseError, match="must not contain"):
        render_principal(Identity(Issuer("https://*"), "team-a", "reader"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "role/",
        "*",
        "coreweave/someone",
        "role/Admin",
        f"role/{ISSUER}",
        f"role/{ISSUER}*",
        f"role/{ISSUER}:system:serviceaccount:team-a",
        f"role/{ISSUER}:system:serviceaccount:team-a:",
        f"role/{ISSUER}:system:serviceaccount::reader",
        f"role/{ISSUER}:system:serviceaccount:team-a:*",
        f"role/{ISSUER}:system:serviceaccount:team-a:reader\n",
        f"role/{ISSUER}:system:serviceaccount:team-a:reader:more",
        f"role/role/{ISSUER}:system:serviceaccount:team-a:reader",
        "role/http://x.example:system:serviceaccount:team-a:reader",
        f" {PRINCIPAL}",
        PRINCIPAL.removeprefix("role/"),
        f"arn:aws:iam::cw1234:{PRINCIPAL}",
    ],
)
def test_what_is_no_principal_of_a_service_account_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        parse_principal(text)


def test_the_message_shows_what_a_principal_looks_like() -> None:
    with pytest.raises(ParseError) as caught:
        parse_principal("role/Admin")
    assert str(caught.value) == (
        "principal 'role/Admin': expected role/<issuer>:system:serviceaccount:<namespace>:<name>"
    )
