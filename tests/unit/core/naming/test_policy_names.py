"""Names of policies: deletion trusts them."""

import re

import pytest

from builders import ISSUER
from caios_federation.core.naming import MAX_NAME, policy_name, policy_prefix
from caios_federation.core.principal import parse_issuer


def test_a_name_starts_with_the_clusters_prefix_and_reads_well() -> None:
    name = policy_name(ISSUER, "team-a", "reader")
    assert name.startswith(policy_prefix(ISSUER))
    assert re.fullmatch(r"cks-[0-9a-f]{8}-team-a-reader-[0-9a-f]+", name)


def test_two_clusters_have_two_prefixes() -> None:
    assert policy_prefix(ISSUER) != policy_prefix(parse_issuer("https://other.example"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a-b", "c"), ("a", "b-c")),
        (("a", "b.c"), ("a", "b-c")),
        (("a" * 63, "b" * 253), ("a" * 63, "b" * 252 + "c")),
        (("a" * 63, "b"), ("a" * 63, "c")),
    ],
)
def test_bindings_that_would_read_the_same_have_two_names(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert policy_name(ISSUER, *one) != policy_name(ISSUER, *other)


def test_names_whose_digests_begin_alike_do_not_share_a_policy() -> None:
    """Found by trying 92,114 names: their digests have the first 32 bits in common."""
    one, other = f"{'x' * 60}45555", f"{'x' * 60}92114"
    assert policy_name(ISSUER, "team-a", one) != policy_name(ISSUER, "team-a", other)


def test_the_longest_names_are_cut() -> None:
    name = policy_name(ISSUER, "a" * 63, "b" * 253)
    assert len(name) == MAX_NAME
    assert not name.endswith("-")


def test_no_cut_leaves_two_hyphens() -> None:
    for length in range(20, 50):
        assert "--" not in policy_name(ISSUER, "a" * length, "b")


def test_a_name_never_changes() -> None:
    """Policies that were applied under it would be lost otherwise."""
    assert policy_name(ISSUER, "team-a", "reader") == "cks-d185efff-team-a-reader-86a4e07ec608a3d5"
