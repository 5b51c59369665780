"""Pauses that services ask for, in a time of the test's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caios_federation.clients.errors import RateLimited, Unavailable
from caios_federation.clients.pauses import Cause, Pause, Pauses

ASKED = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.floats(0, 3600), st.sampled_from([RateLimited, Unavailable])
    )
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_what_never_asked_for_a_pause_has_none() -> None:
    assert Pauses(Clock()).left("a") is None


def test_a_pause_runs_out() -> None:
    clock = Clock()
    pauses = Pauses(clock)
    pauses.begin("a", 60, RateLimited)
    assert pauses.left("a") == Pause(60, RateLimited)
    clock.now += 59
    assert pauses.left("a") == Pause(1, RateLimited)
    clock.now += 1
    assert pauses.left("a") is None
    clock.now -= 1
    assert pauses.left("a") is None, "what is over is forgotten"


def test_who_wakes_a_millisecond_before_the_end_need_not_wait_again() -> None:
    clock = Clock()
    pauses = Pauses(clock)
    pauses.begin("a", 1, RateLimited)
    clock.now += 1 - 0.001
    assert pauses.left("a") is None


@pytest.mark.parametrize(
    ("first", "second", "left"),
    [
        ((60, RateLimited), (5, Unavailable), Pause(60, RateLimited)),
        ((5, Unavailable), (60, RateLimited), Pause(60, RateLimited)),
    ],
)
def test_of_two_pauses_the_one_that_ends_later_stays(
    first: tuple[float, Cause], second: tuple[float, Cause], left: Pause
) -> None:
    pauses = Pauses(Clock())
    pauses.begin("a", *first)
    pauses.begin("a", *second)
    assert pauses.left("a") == left


def test_a_pause_after_another_may_be_shorter() -> None:
    clock = Clock()
    pauses = Pauses(clock)
    pauses.begin("a", 60, RateLimited)
    clock.now += 60
    pauses.begin("a", 5, RateLimited)
    assert pauses.left("a") == Pause(5, RateLimited)


@given(ASKED)
def test_one_is_left_alone_as_long_as_it_asked_for_and_not_as_others_did(
    asked: list[tuple[str, float, Cause]],
) -> None:
    pauses = Pauses(Clock())
    for of, seconds, cause in asked:
        pauses.begin(of, seconds, cause)
    for of in "ab":
        left = pauses.left(of)
        longest = max((seconds for who, seconds, _ in asked if who == of), default=0.0)
        assert (left.seconds if left else 0) == pytest.approx(longest, abs=0.002)
