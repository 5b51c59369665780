"""Foreign texts keep what helps and lose what is secret."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caios_federation.clients.redaction import redacted

API_TOKEN = "CW-SECRET-a1B2c3D4.e5"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL29pZGMifQ.c2lnbmF0dXJlLW9mLWEtdG9rZW4"


@pytest.mark.parametrize(
    "text",
    [
        "invalid request sent to auth endpoint, Invalid token",
        "permission denied",
        'policy "cks-489943f9-team-a-reader-0123456789abcdef" not found',
        "principals: role/https://oidc.cks.coreweave.com/id/8f1c:system:serviceaccount:a:b",
        "issuer_url: https://oidc.prod-aks.azure.com/0d2c2e64-0f2e-4a4e-8a5e-0e7a0c1f2b3d/",
        "action cwobject:CreateAccessKeyOIDC is not known",
        "a bearer token is needed",
    ],
)
def test_what_helps_is_kept(text: str) -> None:
    assert redacted(text, JWT) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"token {JWT} expired", "token [redacted] expired"),
        (f"token {JWT[:30]}", "token [redacted]"),
        ("header.of.e30x0x0x0x0x.e30x0x0x0x0x.c2lnbmF0dXJl", "header.of.[redacted]"),
        (f"Authorization: bearer {API_TOKEN}", "Authorization: [redacted]"),
        (f"token {API_TOKEN}, sorry", "token [redacted] sorry"),
        ("key CW0123456789ABCD is gone", "key [redacted] is gone"),
        (f"secret=cwo{'aB3d' * 10}", "secret=[redacted]"),
        ("e30x0x0x0x0x.e30x0x0x0x0x.c2lnbmF0dXJl", "[redacted]"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ("unusual", "you sent unusual"),
        (API_TOKEN, "you sent a1B2c3D4"),
        (JWT, "you sent c2lnbmF0dXJlLW9mLWEtdG9rZW4"),
    ],
)
def test_what_was_sent_is_taken_out_whole_and_in_parts(sent: str, text: str) -> None:
    assert redacted(text, sent) == "you sent [redacted]"


def test_control_characters_hide_nothing() -> None:
    hidden = "\u200b".join(JWT) + "\r\n\x1b[31m" + "\n".join(API_TOKEN)
    assert redacted(hidden) == "[redacted][31m[redacted]"


@given(
    before=st.text(max_size=300),
    after=st.text(max_size=300),
    token=st.sampled_from([API_TOKEN, JWT]) | st.from_regex(r"CW-SECRET-[A-Za-z0-9._-]{8,80}\Z"),
)
def test_a_token_is_never_in_what_is_shown(before: str, after: str, token: str) -> None:
    shown = redacted(before + token + after, token)
    assert token not in shown
    assert shown.isprintable()
    assert len(shown) <= 256


@pytest.mark.parametrize("text", ["a" * 65536, "eyJ" * 20000, "bearer " * 9000, "a." * 32768])
def test_a_long_text_takes_no_long_time(text: str) -> None:
    assert len(redacted(text, JWT)) <= 256  # quadratic, this would run into the time-out
