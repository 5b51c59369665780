"""`Retry-After`: seconds or a date, and a limit to what is believed."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caios_federation.clients.retry_after import pause_of

NOW = datetime(2026, 1, 23, 19, 3, 47, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        ("0.5", 0.5),
        ("86400", 3600.0),
        ("9" * 400, 3600.0),
        ("Fri, 23 Jan 2026 19:04:17 GMT", 30.0),
        ("Fri, 23 Jan 2026 19:04:17 -0000", 30.0),
        ("Fri, 23 Jan 2026 20:04:17 +0100", 30.0),
        ("Fri, 23 Jan 2026 19:03:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600.0),
    ],
)
def test_seconds_and_dates_are_read(header: str, seconds: float) -> None:
    assert pause_of(header, NOW) == seconds


@pytest.mark.parametrize("header", ["", "soon", "-1", "nan", "inf", "7 s", "²", "Fri, 99 Foo 2026"])
def test_what_is_neither_says_nothing(header: str) -> None:
    assert pause_of(header, NOW) is None


@given(st.text() | st.from_regex(r"[0-9]+[.e]?[0-9]*|\w{3}, \d+ Jan \d+ \d+:\d+:\d+ [-+]\d+"))
def test_a_pause_is_never_negative_nor_longer_than_an_hour(header: str) -> None:
    pause = pause_of(header, NOW)
    assert pause is None or 0 <= pause <= 3600
