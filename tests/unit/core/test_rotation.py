"""When the CA and the pair are replaced, and in which order."""

import datetime as dt
from dataclasses import replace

import pytest

from caios_federation.core.rotation import (
    MOST_OTHERS,
    SKEW,
    Dated,
    Held,
    Step,
    authority_due,
    due,
    keep_trusted,
    next_step,
    over,
)

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
SECOND = dt.timedelta(seconds=1)
LIFETIME = 90 * DAY


def made(identity: str, lifetime: dt.timedelta, at: dt.datetime = NOW, serial: int = 0) -> Dated:
    return Dated(identity, serial, at - SKEW, at + lifetime)


CA = made("ca", 365 * DAY)
PAIR = made("pair", LIFETIME)
HELD = Held(CA, PAIR, "ca")


def step(held: Held, at: dt.datetime = NOW, *settled: str) -> Step:
    return next_step(at, held, settled, LIFETIME).step


def test_what_is_in_order_is_kept() -> None:
    assert step(HELD) is Step.KEEP
    assert step(HELD, due(PAIR) - SECOND, "ca") is Step.KEEP


def test_a_pair_is_due_at_two_thirds_of_its_life_at_the_latest() -> None:
    assert due(PAIR) == NOW + 60 * DAY


@pytest.mark.parametrize("serial", [1, 996, 2**159 - 1])
def test_a_pair_is_due_a_little_earlier_by_its_serial_number(serial: int) -> None:
    early = due(made("pair", LIFETIME, serial=serial))
    assert NOW + 54 * DAY <= early < NOW + 60 * DAY
    assert early == due(made("other", LIFETIME, serial=serial))


@pytest.mark.parametrize("seconds", [60, 600])
def test_a_life_of_minutes_is_counted_from_when_it_was_made(seconds: int) -> None:
    """Not from when it starts, which is longer ago than the whole life."""
    short = made("pair", dt.timedelta(seconds=seconds))
    assert due(short) == NOW + dt.timedelta(seconds=seconds * 2 / 3)


def test_a_pair_that_is_due_is_replaced_when_its_ca_is_known() -> None:
    assert step(HELD, due(PAIR)) is Step.WAIT
    assert step(HELD, due(PAIR), "other") is Step.WAIT
    assert step(HELD, due(PAIR), "ca") is Step.SIGN


def test_a_pair_of_an_older_ca_is_replaced_when_the_new_one_is_known() -> None:
    assert step(replace(HELD, signer="older")) is Step.WAIT
    assert step(replace(HELD, signer="older"), NOW, "ca") is Step.SIGN


def test_a_ca_that_is_due_is_replaced_while_the_pair_serves_on() -> None:
    old = replace(HELD, pair=made("pair", 365 * DAY))
    assert step(old, authority_due(CA, LIFETIME), "ca") is Step.NEW_AUTHORITY


def test_a_ca_is_due_before_its_pairs_would_outlive_it() -> None:
    assert authority_due(CA, 200 * DAY) == CA.expires - 200 * DAY
    assert authority_due(CA, LIFETIME) == due(CA)


@pytest.mark.parametrize("gone", [None, made("ca", 365 * DAY, NOW + DAY)])
def test_a_ca_that_cannot_sign_is_replaced_while_the_pair_serves_on(gone: Dated | None) -> None:
    assert step(replace(HELD, authority=gone)) is Step.NEW_AUTHORITY


DEAD = [None, made("pair", LIFETIME, NOW - 91 * DAY), made("pair", LIFETIME, NOW + DAY)]


@pytest.mark.parametrize("pair", DEAD)
def test_nothing_waits_where_no_pair_can_serve(pair: Dated | None) -> None:
    assert step(replace(HELD, pair=pair)) is Step.SIGN
    assert step(Held(None, pair)) is Step.START_OVER


def test_a_pair_that_is_not_valid_yet_by_a_clock_a_little_behind_is_kept() -> None:
    assert step(HELD, NOW - 2 * SKEW) is Step.KEEP
    assert step(HELD, NOW - 2 * SKEW - SECOND) is Step.START_OVER


def test_each_step_says_why() -> None:
    reasons = {
        next_step(at, held, settled, LIFETIME).reason
        for held in (HELD, Held(None, PAIR), Held(CA, None), replace(HELD, signer="older"))
        for at in (NOW, due(PAIR), due(CA))
        for settled in ((), ("ca",))
    }
    assert reasons == {
        "",
        "pair due",
        "signed by an older CA",
        "no pair that can serve",
        "no CA that can sign",
        "CA due",
    }


def test_what_is_over_is_trusted_no_longer() -> None:
    last = CA.expires + SKEW
    assert not over(CA, last - SECOND)
    assert over(CA, last)
    assert keep_trusted(last, [CA], [PAIR]) == []


def test_what_is_wanted_comes_first_and_nothing_twice() -> None:
    other = made("other", DAY)
    assert keep_trusted(NOW, [CA, PAIR, CA], [other, PAIR, other]) == [CA, PAIR, other]


def test_others_are_bounded_and_what_is_wanted_is_not() -> None:
    wanted = [made(f"wanted-{number}", DAY) for number in range(150)]
    others = [made(f"other-{number}", DAY) for number in range(50)]
    assert keep_trusted(NOW, wanted, others) == [*wanted, *others[:MOST_OTHERS]]
