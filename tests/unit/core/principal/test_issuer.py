"""Which issuers are taken."""

import pytest

from caios_federation.core.errors import ParseError
from caios_federation.core.principal import parse_issuer


@pytest.mark.parametrize(
    "text",
    [
        "https://oidc.cks.coreweave.com/id/4f6e1a2b-3c4d",
        "https://kubernetes.default.svc.cluster.local",
        "https://x.example:8443/a/b",
        "http://localhost:6443",
        "http://127.0.0.1",
        "http://issuer.localhost",
    ],
)
def test_a_url_with_a_host_is_taken_as_it_is(text: str) -> None:
    assert parse_issuer(text) == text


def test_a_trailing_slash_is_part_of_the_issuer() -> None:
    """Issuers are compared to the letter, and those of AKS end with one."""
    assert parse_issuer("https://x.example/id/") == "https://x.example/id/"


@pytest.mark.parametrize("text", ["*", "?", "[", "]", "\\", " ", "\t", "\n", "\r", "\x00", "\x1b"])
@pytest.mark.parametrize("form", ["https://x.example/{}", "https://{}x.example", "https://x{}"])
def test_wildcards_blanks_and_control_characters_are_refused(text: str, form: str) -> None:
    with pytest.raises(ParseError, match="must not contain"):
        parse_issuer(form.format(text))


@pytest.mark.parametrize(
    "text", ["\x7f", "\x85", "\x9f", "\u00a0", "\u2028", "\u2029", "\u200b", "\u202e", "\u00e4"]
)
def test_what_a_person_could_overlook_is_refused(text: str) -> None:
    with pytest.raises(ParseError, match="must not contain"):
        parse_issuer(f"https://x.example/{text}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "https://",
        "https:///",
        "https:///id",
        "x.example",
        "//x.example",
        "http://x.example",
        "http://localhost.example",
        "http://notlocalhost",
        "ftp://x.example",
        "file:///etc/passwd",
        "https://x.example#",
        "https://x.example/#a",
        "https://x.example:system:serviceaccount:a",
        "https://x.example/:system:serviceaccount:",
        "https://" + "x" * 1017,
    ],
)
def test_what_is_no_issuer_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        parse_issuer(text)


def test_the_longest_issuer_is_taken() -> None:
    text = "https://" + "x" * 1016
    assert len(text) == 1024
    assert parse_issuer(text) == text


def test_the_message_shows_what_is_wrong_and_not_more() -> None:
    with pytest.raises(ParseError) as caught:
        parse_issuer("https://" + "x" * 2000)
    assert str(caught.value) == "issuer: longer than 1024 characters"
