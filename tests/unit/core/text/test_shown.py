"""Foreign text in messages is short and printable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caios_federation.core.text import cut, shown


@pytest.mark.parametrize("text", ["", "ture", "it's", 'say "x"', "a\nb", "x" * 40])
def test_a_short_text_is_quoted_as_python_does(text: str) -> None:
    assert shown(text) == repr(text)


def test_a_long_text_is_cut_and_says_so() -> None:
    assert shown("x" * 41) == f"'{'x' * 39}…'"
    assert cut("x" * 41) == "x" * 39 + "…"


def test_what_gets_long_by_its_escapes_is_cut_too() -> None:
    assert shown("\U000e0001" * 40) == r"'\U000e0001\U000e0001\U000e0001\U000e000…'"


def test_a_long_text_costs_no_more_than_a_short_one() -> None:
    assert len(shown("\x00" * 10_000_000)) == 42


@given(st.text(st.characters(codec=None, exclude_categories=())), st.integers(2, 60))
def test_whatever_is_shown_is_printable_and_bounded(text: str, limit: int) -> None:
    assert shown(text, limit).isprintable()
    assert len(shown(text, limit)) <= limit + 2
    assert cut(text, limit) == shown(text, limit)[1:-1]
