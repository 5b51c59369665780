"""Laws of principals and names: 7 and 8 of the house style."""

import re

from hypothesis import given
from hypothesis import strategies as st

import strategies
from caios_federation.core.errors import ParseError
from caios_federation.core.naming import MAX_NAME, policy_name, policy_prefix
from caios_federation.core.principal import (
    Identity,
    Issuer,
    parse_issuer,
    parse_principal,
    render_principal,
)

identities = st.builds(
    Identity,
    strategies.issuer_texts.map(parse_issuer),
    strategies.labels_of_dns,
    strategies.account_names,
)
anything = st.text(max_size=40)
HARMLESS = re.compile(r"[!-~]*")
WILDCARDS = set("*?[]\\")


@given(identities)
def test_a_principal_is_read_back(identity: Identity) -> None:
    assert parse_principal(render_principal(identity)) == identity


@given(identities, identities)
def test_different_identities_have_different_principals(one: Identity, other: Identity) -> None:
    assert (render_principal(one) == render_principal(other)) == (one == other)


@given(identities, st.integers(1, 40))
def test_a_colon_that_moves_makes_no_other_identity(identity: Identity, at: int) -> None:
    """However a principal is cut, its parts are those that it was made of."""
    text = render_principal(identity)
    issuer, namespace = text[:at].removeprefix("role/"), text[at:]
    try:
        again = render_principal(Identity(Issuer(issuer), namespace, identity.name))
    except ParseError:
        return
    assert again != text


@given(
    st.one_of(strategies.issuer_texts, anything).map(Issuer),
    st.one_of(strategies.labels_of_dns, anything),
    st.one_of(strategies.account_names, anything),
)
def test_no_wildcard_or_control_character_ever_gets_through(
    issuer: Issuer, namespace: str, name: str
) -> None:
    try:
        principal = render_principal(Identity(issuer, namespace, name))
    except ParseError:
        return
    assert HARMLESS.fullmatch(principal)
    assert WILDCARDS.isdisjoint(principal)


@given(strategies.issuer_texts, st.sampled_from(sorted(WILDCARDS | set(" \t\r\n\0\x7f\x85\u2028"))))
def test_an_issuer_with_a_wildcard_or_control_character_is_refused(text: str, odd: str) -> None:
    for at in (0, len(text) // 2, len(text)):
        try:
            parse_issuer(text[:at] + odd + text[at:])
        except ParseError:
            continue
        raise AssertionError(text[:at] + odd + text[at:])


@given(strategies.issuer_texts)
def test_an_issuer_is_read_once(text: str) -> None:
    assert parse_issuer(parse_issuer(text)) == parse_issuer(text)


pairs = st.tuples(strategies.labels_of_dns, strategies.account_names)
alike = st.tuples(
    st.from_regex(r"[ab]([ab-]{0,4}[ab])?", fullmatch=True),
    st.from_regex(r"[ab]([ab.-]{0,4}[ab])?", fullmatch=True),
)


@given(strategies.issuer_texts.map(parse_issuer), pairs)
def test_a_name_is_valid_bounded_and_carries_the_prefix(
    issuer: Issuer, pair: tuple[str, str]
) -> None:
    name = policy_name(issuer, *pair)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name)
    assert len(name) <= MAX_NAME
    assert name.startswith(policy_prefix(issuer))


@given(strategies.issuer_texts.map(parse_issuer), pairs | alike, pairs | alike)
def test_two_bindings_never_share_a_name(
    issuer: Issuer, one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert (policy_name(issuer, *one) == policy_name(issuer, *other)) == (one == other)


@given(strategies.issuer_texts, strategies.issuer_texts)
def test_no_prefix_is_another_clusters(one: str, other: str) -> None:
    first, second = policy_prefix(parse_issuer(one)), policy_prefix(parse_issuer(other))
    assert (first == second) == (parse_issuer(one) == parse_issuer(other))
    assert len(first) == len(second)
