"""The snapshot of policies: whatever happens, it never takes for applied what is not there."""

import asyncio
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from caios_federation.clients import errors
from caios_federation.core.sync import UNREADABLE, meaning_of
from properties.remote_policies import (
    FOREIGN,
    LOST,
    PREFIX,
    REFUSED,
    UNANSWERED,
    A,
    B,
    Call,
    Running,
    policy,
    running,
)


class SnapshotMachine(RuleBasedStateMachine):
    """Any interleaving of LISTs and own writes, each of which may fail before or after it works."""

    def __init__(self) -> None:
        super().__init__()
        self.run = Running()
        self.tasks: list[asyncio.Task[Any]] = []
        self.asked: list[asyncio.Task[Any]] = []

    @rule(name=st.sampled_from([A, B]), bucket=st.sampled_from(["data", "logs"]))
    def ensure(self, name: str, bucket: str) -> None:
        self.tasks.append(self.run.start(self.run.snapshot.ensure(policy(name, bucket))))

    @rule(name=st.sampled_from([A, B]))
    def delete(self, name: str) -> None:
        self.tasks.append(self.run.start(self.run.snapshot.delete(name)))

    @rule()
    def ask(self) -> None:
        self.asked.append(self.run.ask())

    @rule()
    def expire(self) -> None:
        self.run.snapshot.expire()

    @rule(seconds=st.sampled_from([0.5, 4, 20, 40]))
    def wait(self, seconds: float) -> None:
        self.run.loop.advance(seconds)

    def _call(self, data: st.DataObject) -> Call:
        return data.draw(st.sampled_from(self.run.server.calls))

    @precondition(lambda self: self.run.server.calls)
    @rule(data=st.data())
    def take_effect(self, data: st.DataObject) -> None:
        self.run.server.take_effect(self._call(data))

    @precondition(lambda self: self.run.server.calls)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        self.run.succeed(self._call(data))

    @precondition(lambda self: self.run.server.calls)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        self.run.fail(self._call(data), data.draw(st.sampled_from([LOST, UNANSWERED])))

    @precondition(lambda self: any(not call.done for call in self.run.server.calls))
    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        refusable = [call for call in self.run.server.calls if not call.done]
        self.run.fail(data.draw(st.sampled_from(refusable)), REFUSED)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.asked)).cancel()
        self.run.loop.settle()

    @invariant()
    def what_is_known_is_there(self) -> None:
        meanings = {name: meaning_of(body) for name, body in self.run.server.policies.items()}
        for name, meaning in self.run.snapshot.known().items():
            assert meaning in {UNREADABLE, meanings.get(name)}, f"{name} is not there like that"

    @invariant()
    def what_is_foreign_is_not_known(self) -> None:
        assert FOREIGN not in self.run.snapshot.known()
        assert FOREIGN in self.run.server.policies

    @invariant()
    def there_is_one_list_at_a_time_and_one_write_of_a_policy(self) -> None:
        assert sum(call.kind == "list" for call in self.run.server.calls) <= 1
        assert len(set(self.run.server.writing)) == len(self.run.server.writing)

    def teardown(self) -> None:
        """Once all is answered, what is there is known, or in doubt: nothing is overlooked."""
        while self.run.server.calls:
            self.run.succeed(self.run.server.calls[0])
        for task in self.tasks + self.asked:
            assert task.done()
            assert task.cancelled() or isinstance(task.exception(), errors.ClientError | None)
        self.run.loop.advance(100)
        self.run.snapshot.expire()
        self.run.snapshot.retry()
        there = {name: meaning_of(b) for name, b in self.run.server.policies.items()}
        assert self.run.listed() == {name: text for name, text in there.items() if name != FOREIGN}
        self.run.stop()
        super().teardown()


TestSnapshot = SnapshotMachine.TestCase
TestSnapshot.settings = settings(stateful_step_count=40)


def test_all_who_ask_share_one_list() -> None:
    with running() as run:
        asked = [run.ask() for _ in range(5)]
        run.succeed(run.listing)
        assert [dict(task.result()) for task in asked] == [{}] * 5
        assert run.listed() == {}
        assert run.server.lists == 1


def test_one_who_gives_up_leaves_the_others_their_answer() -> None:
    with running() as run:
        first, second = run.ask(), run.ask()
        first.cancel()
        run.loop.settle()
        assert first.cancelled()
        run.succeed(run.listing)
        assert dict(second.result()) == {}
        assert run.server.lists == 1


def test_a_list_that_nobody_waits_for_any_more_is_still_of_use() -> None:
    with running() as run:
        asked = run.ask()
        asked.cancel()
        run.loop.settle()
        run.succeed(run.listing)
        assert run.ask().done()
        assert run.server.lists == 1


def test_a_failure_is_everybodys_answer_for_five_seconds() -> None:
    with running() as run:
        asked = [run.ask(), run.ask()]
        run.fail(run.listing, REFUSED)
        assert [task.exception() for task in asked] == [REFUSED] * 2
        run.loop.advance(4.9)
        assert run.ask().exception() is REFUSED
        assert run.server.lists == 1
        run.loop.advance(0.2)
        assert run.listed() == {}
        assert run.server.lists == 2


@pytest.mark.parametrize(("asked", "wait"), [(0.5, 5), (60, 60)])
def test_a_failure_is_the_answer_for_as_long_as_the_service_asks_for(
    asked: float, wait: float
) -> None:
    with running() as run:
        first = run.ask()
        run.fail(run.listing, errors.RateLimited("later", retry_after_seconds=asked))
        assert isinstance(first.exception(), errors.RateLimited)
        run.loop.advance(wait - 0.1)
        told = run.ask().exception()
        assert isinstance(told, errors.RateLimited)
        assert told.retry_after_seconds == pytest.approx(0.1)
        assert run.server.lists == 1
        run.loop.advance(0.2)
        assert run.listed() == {}


def test_who_does_not_wait_for_a_list_is_not_told_to_wait_as_long_as_after_the_last_one() -> None:
    with running() as run:
        first = run.ask()
        run.fail(run.listing, errors.RateLimited("later", retry_after_seconds=60))
        assert isinstance(first.exception(), errors.RateLimited)
        run.loop.advance(60)
        asked = run.ask()
        run.loop.advance(1.1)
        told = asked.exception()
        assert isinstance(told, errors.RateLimited)
        assert told.retry_after_seconds is None
        run.succeed(run.listing)


@pytest.mark.parametrize("again", ["retry", "expire"])
def test_a_failure_is_forgotten_when_somebody_knows_better(again: str) -> None:
    with running() as run:
        asked = run.ask()
        run.fail(run.listing)
        assert asked.exception() is LOST
        getattr(run.snapshot, again)()
        assert run.listed() == {}


def test_a_failure_that_many_are_told_does_not_grow() -> None:
    with running() as run:
        asked = run.ask()
        run.fail(run.listing)
        depths = []
        for _ in range(20):
            error = run.ask().exception()
            assert error is LOST
            depths.append(_depth(error))
        assert asked.done()
        assert len(set(depths)) == 1


def _depth(error: BaseException) -> int:
    trace, depth = error.__traceback__, 0
    while trace is not None:
        trace, depth = trace.tb_next, depth + 1
    return depth


def test_a_list_after_one_that_failed_is_waited_for_a_second_and_used_when_it_comes() -> None:
    with running() as run:
        first = run.ask()
        run.fail(run.listing)
        assert first.exception() is LOST
        run.loop.advance(5)
        asked = [run.ask(), run.ask()]
        run.loop.advance(0.9)
        assert [task.done() for task in asked] == [False, False]
        run.loop.advance(0.2)
        assert [task.exception() for task in asked] == [LOST, LOST]
        assert run.listed() == {}
        assert run.server.lists == 2


def test_only_policies_of_this_cluster_are_known() -> None:
    with running() as run:
        run.server.policies |= {name: policy(name) for name in (A, f"x{A}", PREFIX[:-1], "cks-0-a")}
        assert set(run.listed()) == {A}
        assert [run.snapshot.owned(name) for name in (A, FOREIGN)] == [True, False]


def test_a_write_is_known_without_another_list() -> None:
    with running() as run:
        run.listed()
        run.written(run.snapshot.ensure(policy(A)))
        assert run.listed() == {A: meaning_of(policy(A))}
        run.written(run.snapshot.delete(A))
        assert run.listed() == {}
        assert run.server.lists == 1


@pytest.mark.parametrize("took_effect", [True, False])
def test_a_write_whose_answer_is_lost_is_in_doubt(*, took_effect: bool) -> None:
    with running() as run:
        run.listed()
        for work in (run.snapshot.ensure(policy(A)), run.snapshot.delete(A)):
            task = run.start(work)
            (call,) = run.server.calls
            if took_effect:
                run.server.take_effect(call)
            run.fail(call)
            assert task.exception() is LOST
            assert run.listed() == {A: UNREADABLE}


def test_a_write_that_is_refused_changes_nothing() -> None:
    with running() as run:
        run.server.policies[B] = policy(B)
        before = run.listed()
        for work in (run.snapshot.ensure(policy(A)), run.snapshot.delete(B)):
            task = run.start(work)
            run.fail(run.server.calls[0], REFUSED)
            assert task.exception() is REFUSED
        assert run.listed() == before == {B: meaning_of(policy(B))}


def test_a_refusal_leaves_in_doubt_what_was_listed_meanwhile() -> None:
    with running() as run:
        run.server.policies[A] = policy(A)
        run.listed()
        task = run.start(run.snapshot.delete(A))
        (call,) = run.server.calls
        run.snapshot.expire()
        run.server.policies[A] = policy(A, "logs")
        run.listed()
        run.fail(call, REFUSED)
        assert task.exception() is REFUSED
        assert run.listed() == {A: UNREADABLE}


def test_a_refusal_does_not_undo_what_was_written_just_before() -> None:
    with running() as run:
        run.listed()
        run.written(run.snapshot.ensure(policy(A)))
        task = run.start(run.snapshot.delete(A))
        run.fail(run.server.calls[0], REFUSED)
        assert task.exception() is REFUSED
        del run.server.policies[A]  # as a service lists it that is slow to show it
        run.snapshot.expire()
        assert run.listed() == {A: meaning_of(policy(A))}


def test_a_write_under_way_is_in_doubt() -> None:
    with running() as run:
        run.server.policies[A] = policy(A)
        run.listed()
        task = run.start(run.snapshot.delete(A))
        assert run.listed() == {A: UNREADABLE}
        run.succeed(run.server.calls[0])
        assert task.done()
        assert run.listed() == {}


def test_writes_of_one_policy_take_turns_and_of_others_do_not() -> None:
    with running() as run:
        works = [run.snapshot.delete(A), run.snapshot.ensure(policy(A)), run.snapshot.delete(B)]
        tasks = [run.start(work) for work in works]
        assert sorted(run.server.writing) == [A, B]
        run.fail(run.server.calls[0])
        run.succeed(run.server.calls[0])
        assert run.server.writing == [A]
        run.succeed(run.server.calls[0])
        assert [task.done() for task in tasks] == [True] * 3
        assert set(run.listed()) == {A}


def test_a_list_that_was_read_before_our_write_is_put_right_however_long_it_took() -> None:
    with running() as run:
        run.server.policies[A] = policy(A)
        asked = run.ask()
        listing = run.listing
        run.server.take_effect(listing)
        run.written(run.snapshot.delete(A))
        run.written(run.snapshot.ensure(policy(B)))
        run.loop.advance(45)
        run.succeed(listing)
        assert dict(asked.result()) == {B: meaning_of(policy(B))}


def test_a_service_that_is_slow_to_list_what_we_wrote_is_not_believed() -> None:
    with running() as run:
        run.listed()
        run.written(run.snapshot.ensure(policy(A)))
        del run.server.policies[A]  # as it lists it
        run.snapshot.expire()
        run.loop.advance(29)
        assert run.listed() == {A: meaning_of(policy(A))}
        run.loop.advance(2)
        run.snapshot.expire()
        assert run.listed() == {}


def test_what_others_changed_is_seen_once_a_list_is_taken() -> None:
    with running() as run:
        run.server.policies[A] = policy(A)
        run.listed()
        run.server.policies[A] = policy(A, "logs")
        assert run.listed() == {A: meaning_of(policy(A))}
        run.snapshot.expire()
        assert run.snapshot.known() == {}
        assert run.listed() == {A: meaning_of(policy(A, "logs"))}


def test_orphans_are_to_be_looked_for_once_after_each_list() -> None:
    with running() as run:
        assert not run.snapshot.unswept
        run.listed()
        assert run.snapshot.unswept
        run.snapshot.unswept = False
        run.listed()
        assert not run.snapshot.unswept
        run.snapshot.expire()
        run.listed()
        assert run.snapshot.unswept
