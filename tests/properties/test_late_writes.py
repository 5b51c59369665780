"""A write that got no answer may come about late, after others that did: it is looked at again."""

import pytest

from caios_federation.clients import errors
from caios_federation.core.sync import meaning_of
from caios_federation.reconcile.snapshot import PolicySnapshot
from properties.remote_policies import (
    LOST,
    PREFIX,
    REFUSED,
    UNANSWERED,
    A,
    B,
    Running,
    policy,
    running,
)

LATE_SECONDS = 60
WIDE, NARROW = policy(A, "*"), policy(A, "data")


def write_the_narrow_one_after_the_wide_one_was_given_up(run: Running) -> None:
    run.listed()
    task = run.start(run.snapshot.ensure(WIDE))
    run.fail(run.server.calls[0], UNANSWERED)
    assert task.exception() is UNANSWERED
    run.written(run.snapshot.ensure(NARROW))


def test_what_comes_about_late_is_seen_by_a_list_after_the_time_for_it() -> None:
    """A wide policy whose write was given up replaces the narrow one that was written since."""
    with running() as run:
        write_the_narrow_one_after_the_wide_one_was_given_up(run)
        assert run.snapshot.unsettled_seconds(A, meaning_of(NARROW)) == LATE_SECONDS
        run.server.policies[A] = WIDE  # which nobody is told of
        run.loop.advance(LATE_SECONDS - 1)
        assert run.listed() == {A: meaning_of(NARROW)}
        assert run.snapshot.unsettled_seconds(A, meaning_of(NARROW)) == pytest.approx(1, abs=0.01)
        run.loop.advance(1)
        assert run.listed() == {A: meaning_of(WIDE)}
        assert run.server.lists == 2
        assert run.snapshot.unsettled_seconds(A, meaning_of(NARROW)) is None
        assert run.listed() == {A: meaning_of(WIDE)}
        assert run.server.lists == 2


def test_what_a_list_shows_after_the_time_for_a_late_write_may_be_that_write() -> None:
    with running() as run:
        write_the_narrow_one_after_the_wide_one_was_given_up(run)
        run.loop.advance(LATE_SECONDS)
        run.listed()
        assert (run.snapshot.came_late(A), run.snapshot.came_late(B)) == (True, False)
        run.snapshot.expire()
        run.listed()
        assert not run.snapshot.came_late(A), "another LIST shows what others did"


def test_a_list_is_believed_more_than_what_was_written_while_another_write_is_unanswered() -> None:
    with running() as run:
        write_the_narrow_one_after_the_wide_one_was_given_up(run)
        run.server.policies[A] = WIDE
        run.snapshot.expire()
        assert run.listed() == {A: meaning_of(WIDE)}
        assert run.snapshot.unsettled_seconds(A, meaning_of(NARROW)) == LATE_SECONDS


def test_who_comes_to_look_at_the_same_policies_knows_what_may_come_about_there() -> None:
    with running() as run:
        write_the_narrow_one_after_the_wide_one_was_given_up(run)
        run.written(run.snapshot.ensure(policy(B)))
        del run.server.policies[B]  # as a service lists it that is slow to show it
        first = run.snapshot
        run.snapshot = PolicySnapshot(first._api, PREFIX, run.loop.time, first._place)
        assert run.listed() == {A: meaning_of(NARROW), B: meaning_of(policy(B))}
        assert run.snapshot.unsettled_seconds(A, meaning_of(NARROW)) == LATE_SECONDS


def test_what_may_come_about_late_is_waited_for_unless_it_is_what_is_wanted() -> None:
    with running() as run:
        write_the_narrow_one_after_the_wide_one_was_given_up(run)
        task = run.start(run.snapshot.delete(A))
        run.loop.advance(5)
        run.fail(run.server.calls[0], UNANSWERED)
        assert task.exception() is UNANSWERED
        unsettled = run.snapshot.unsettled_seconds
        assert unsettled(A, meaning_of(NARROW)) == LATE_SECONDS
        assert unsettled(A, meaning_of(WIDE)) == LATE_SECONDS
        assert unsettled(A, None) == pytest.approx(LATE_SECONDS - 5)
        assert unsettled(B, None) is None


def test_a_write_that_was_cancelled_may_come_about_too() -> None:
    with running() as run:
        run.listed()
        task = run.start(run.snapshot.delete(A))
        task.cancel()
        run.loop.settle()
        assert run.snapshot.unsettled_seconds(A, meaning_of(NARROW)) == LATE_SECONDS


@pytest.mark.parametrize("error", [REFUSED, LOST, errors.RateLimited("later")])
def test_a_write_that_was_answered_does_not_come_about_later(error: errors.ClientError) -> None:
    with running() as run:
        run.listed()
        task = run.start(run.snapshot.ensure(policy(A)))
        run.fail(run.server.calls[0], error)
        assert task.exception() is error
        assert run.snapshot.unsettled_seconds(A, None) is None
