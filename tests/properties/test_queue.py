"""Law 15: the queue works on every key, on none twice at once, and waits longer while it fails."""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from caios_federation.clients.errors import (
    ClientError,
    RateLimited,
    Rejected,
    Retryable,
    Unavailable,
)
from caios_federation.reconcile.queue import Key, Queue
from caios_federation.settings import ReconcileSettings
from virtual_time import VirtualLoop

WORKERS = 3
ERRORS = [
    Unavailable("x"),
    RateLimited("x", retry_after_seconds=40),
    Unavailable("x", retry_after_seconds=0),
    Rejected("x"),
    ValueError("x"),
]
NEVER = 1e9
PATIENCE = 0.25
"""Seconds that a reconciliation keeps its worker."""
WAITING = 128
"""Reconciliations that may be under way without one."""
KEYS = [Key("FederatedStorageBinding", "team-a", name) for name in "abcde"]
A, B = KEYS[:2]


class Work:
    """Reconciliations that end when and as the test says."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.under_way: dict[Key, asyncio.Future[float | None]] = {}
        self.started: list[tuple[Key, float]] = []
        self.overlaps: list[Key] = []

    async def __call__(self, key: Key) -> float | None:
        if key in self.under_way:
            self.overlaps.append(key)
        self.started.append((key, self._loop.time()))
        self.under_way[key] = self._loop.create_future()
        try:
            return await self.under_way[key]
        finally:
            del self.under_way[key]

    def finish(self, key: Key, error: Exception | None = None, again: float | None = None) -> None:
        if error is None:
            self.under_way[key].set_result(again)
        else:
            self.under_way[key].set_exception(error)

    def times(self, key: Key) -> list[float]:
        """Return when work on `key` began."""
        return [when for started, when in self.started if started == key]


class Running:
    """A queue at work in virtual time."""

    def __init__(self, everything: Callable[[], list[Key]] = list, **fields: float) -> None:
        self.loop = VirtualLoop()
        self.work = Work(self.loop)
        jitter = fields.pop("jitter", 1.0)
        chosen = ReconcileSettings.model_validate(
            {"workers": WORKERS, "resync_seconds": NEVER, **fields}
        )
        self.queue = Queue(self.work, chosen, jitter=lambda: jitter)
        self._task = self.loop.create_task(self.queue.run(everything))
        self.loop.settle()

    def fail(self, key: Key, error: Exception | None = None) -> None:
        self.work.finish(key, error or Unavailable("later"))
        self.loop.settle()

    def succeed(self, key: Key, again: float | None = None) -> None:
        self.work.finish(key, again=again)
        self.loop.settle()

    def add(self, *keys: Key) -> None:
        self.queue.add(*keys)
        self.loop.settle()

    def stop(self) -> None:
        self._task.cancel()
        try:
            self.loop.run(_ended(self._task))
        finally:
            assert self._task.cancelled()
            assert asyncio.all_tasks(self.loop) == set()
            self.loop.close()


async def _ended(task: asyncio.Task[None]) -> None:
    await asyncio.wait([task])


@contextmanager
def running(everything: Callable[[], list[Key]] = list, **fields: float) -> Iterator[Running]:
    with structlog.testing.capture_logs():
        run = Running(everything, **fields)
        try:
            yield run
        finally:
            run.stop()


class QueueMachine(RuleBasedStateMachine):
    """Any order of adding, working, failing and waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.run = Running()
        self.wanted: dict[Key, int] = {}
        """How often work on a key had begun when it was last added."""
        self.added: dict[Key, int] = {}
        """How often a key was added."""
        self.failing: set[Key] = set()

    @rule(keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=4))
    def add(self, keys: list[Key]) -> None:
        for key in keys:
            self.wanted[key] = len(self.run.work.times(key))
            self.added[key] = self.added.get(key, 0) + 1
        self.run.add(*keys)

    @rule(keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=4))
    def add_in_the_middle_of_a_round(self, keys: list[Key]) -> None:
        for key in keys:
            self.wanted[key] = len(self.run.work.times(key))
            self.added[key] = self.added.get(key, 0) + 1
        self.run.queue.add(*keys)

    @precondition(lambda self: self.run.work.under_way)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.run.work.under_way, key=str)))
        self.failing.discard(key)
        self.run.succeed(key)

    @precondition(lambda self: self.run.work.under_way)
    @rule(data=st.data(), again=st.sampled_from([0.0, 0.1, 5.0, 60.0]))
    def succeed_for_now(self, data: st.DataObject, again: float) -> None:
        key = data.draw(st.sampled_from(sorted(self.run.work.under_way, key=str)))
        self.failing.discard(key)
        self.wanted[key] = len(self.run.work.times(key))
        self.run.succeed(key, again)

    @precondition(lambda self: self.run.work.under_way)
    @rule(data=st.data(), error=st.sampled_from(ERRORS))
    def fail(self, data: st.DataObject, error: Exception) -> None:
        key = data.draw(st.sampled_from(sorted(self.run.work.under_way, key=str)))
        self.failing.add(key)
        with structlog.testing.capture_logs():
            self.run.fail(key, error)

    @rule(seconds=st.sampled_from([0.1, 1, 30, 200]))
    def wait(self, seconds: float) -> None:
        self.run.loop.advance(seconds)

    @invariant()
    def no_key_has_two_workers(self) -> None:
        assert self.run.work.overlaps == []

    @invariant()
    def nothing_that_nobody_adds_runs_busily(self) -> None:
        for key in KEYS:
            starts = self.run.work.times(key)
            hurried = sum(b - a < 0.5 for a, b in itertools.pairwise(starts))
            assert hurried <= self.added.get(key, 0)

    @invariant()
    def no_more_work_than_workers_but_what_waits_for_long(self) -> None:
        work, now = self.run.work, self.run.loop.time()
        fresh = [key for key in work.under_way if now - work.times(key)[-1] < PATIENCE]
        assert len(fresh) <= WORKERS

    def teardown(self) -> None:
        """Let everything succeed; then nothing is owed any more."""
        self.run.loop.settle()
        while self.run.work.under_way:
            self.run.succeed(next(iter(self.run.work.under_way)))
        self.run.loop.advance(1000)
        while self.run.work.under_way:
            self.run.succeed(next(iter(self.run.work.under_way)))
        for key, begun in self.wanted.items():
            assert len(self.run.work.times(key)) > begun, f"{key} was added and not worked on"
        queue = self.run.queue
        leftovers = (queue._queued, queue._active, queue._again, queue._failures, queue._timers)
        assert [len(leftover) for leftover in leftovers] == [0] * 5
        self.run.stop()
        super().teardown()


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(stateful_step_count=40)


def test_a_key_added_while_worked_on_is_worked_on_once_more() -> None:
    with running() as run:
        run.add(A)
        run.add(A, A)
        assert run.work.times(A) == [0]
        run.succeed(A)
        assert len(run.work.times(A)) == 2
        run.succeed(A)
        assert run.work.under_way == {}


def test_keys_added_often_before_their_turn_are_worked_on_once() -> None:
    with running(workers=1) as run:
        run.add(B)
        run.add(A, A, A)
        run.succeed(B)
        run.succeed(A)
        assert len(run.work.times(A)) == 1


def test_keys_are_worked_on_in_the_order_in_which_they_were_added() -> None:
    with running(workers=1) as run:
        run.add(*KEYS)
        for key in KEYS:
            run.succeed(key)
        assert [key for key, _ in run.work.started] == KEYS


def test_a_key_that_waits_for_long_does_not_hold_up_the_others() -> None:
    with running(workers=1) as run:
        run.add(A, B)
        run.loop.advance(PATIENCE - 0.01)
        assert set(run.work.under_way) == {A}
        run.loop.advance(0.02)
        assert set(run.work.under_way) == {A, B}
        run.succeed(B)
        run.succeed(A)


def test_a_hundred_keys_that_wait_hold_up_another_for_two_seconds() -> None:
    waiting = [Key("FederatedStorageBinding", "team-b", f"b-{number}") for number in range(100)]
    with running(workers=16) as run:
        run.add(*waiting, A)
        run.loop.advance(2.5)
        assert A in run.work.under_way
        assert set(waiting) < set(run.work.under_way)


def test_no_more_keys_than_there_are_places_are_under_way_however_long_they_wait() -> None:
    many = [Key("FederatedStorageBinding", "team-b", f"b-{number}") for number in range(200)]
    with running(workers=WORKERS) as run:
        run.add(*many)
        run.loop.advance(100)
        assert len(run.work.under_way) == WORKERS + WAITING
        run.succeed(many[0])
        run.loop.advance(1)
        assert len(run.work.under_way) == WORKERS + WAITING


def test_a_failing_key_does_not_hold_up_the_others() -> None:
    with running(workers=1) as run:
        run.add(A, B)
        run.fail(A)
        assert set(run.work.under_way) == {B}
        run.succeed(B)


def test_the_wait_doubles_up_to_its_bound() -> None:
    with running(first_backoff_seconds=0.5, longest_backoff_seconds=3) as run:
        run.add(A)
        for delay in (0.5, 1, 2, 3, 3):
            run.fail(A)
            run.loop.advance(delay - 0.01)
            assert run.work.under_way == {}
            run.loop.advance(0.02)
            assert set(run.work.under_way) == {A}
        run.succeed(A)


def test_success_resets_the_wait() -> None:
    with running(first_backoff_seconds=1) as run:
        run.add(A)
        for _ in range(3):
            run.fail(A)
            run.loop.advance(10)
        run.succeed(A)
        run.add(A)
        run.fail(A)
        run.loop.advance(1.01)
        assert set(run.work.under_way) == {A}
        run.succeed(A)


def test_a_key_that_waits_for_its_retry_runs_now_when_it_is_added_and_not_again_later() -> None:
    with running(first_backoff_seconds=100) as run:
        run.add(A)
        run.fail(A)
        run.add(A)
        assert len(run.work.times(A)) == 2
        run.succeed(A)
        run.loop.advance(1000)
        assert len(run.work.times(A)) == 2


def test_a_key_added_while_it_fails_runs_now_and_still_waits_longer_next_time() -> None:
    with running(first_backoff_seconds=1) as run:
        run.add(A)
        run.add(A)
        run.fail(A)
        assert set(run.work.under_way) == {A}
        run.fail(A)
        run.loop.advance(1.5)
        assert run.work.under_way == {}
        run.loop.advance(1)
        assert set(run.work.under_way) == {A}
        run.succeed(A)


def test_a_key_is_looked_at_again_after_the_wait_that_its_reconciliation_wants() -> None:
    with running(first_backoff_seconds=0.5) as run:
        run.add(A)
        for again, wait in ((60.0, 60.0), (5.0, 5.0), (0.0, 0.5), (-3.0, 0.5)):
            run.succeed(A, again)
            run.loop.advance(wait - 0.01)
            assert run.work.under_way == {}
            run.loop.advance(0.02)
            assert set(run.work.under_way) == {A}
        run.succeed(A)
        run.loop.advance(1000)
        assert len(run.work.times(A)) == 5


def test_a_key_added_while_it_waits_to_be_looked_at_again_is_looked_at_once() -> None:
    with running() as run:
        run.add(A)
        run.succeed(A, 60)
        run.add(A)
        run.succeed(A)
        run.loop.advance(1000)
        assert len(run.work.times(A)) == 2


def test_a_key_added_while_worked_on_does_not_wait_as_its_reconciliation_wants() -> None:
    with running() as run:
        run.add(A)
        run.add(A)
        run.succeed(A, 60)
        assert run.work.times(A) == [0, 0]
        run.succeed(A)
        run.loop.advance(1000)
        assert len(run.work.times(A)) == 2


@pytest.mark.parametrize("kind", [RateLimited, Unavailable])
def test_the_wait_that_another_system_asks_for_is_kept(kind: type[Retryable]) -> None:
    with running(first_backoff_seconds=1, longest_backoff_seconds=10) as run:
        run.add(A)
        run.fail(A, kind("later", retry_after_seconds=45))
        run.loop.advance(44.9)
        assert run.work.under_way == {}
        run.loop.advance(0.2)
        run.fail(A, kind("later", retry_after_seconds=0.1))
        run.loop.advance(1.9)
        assert run.work.under_way == {}
        run.loop.advance(0.2)
        run.succeed(A)


@pytest.mark.parametrize("kind", [RateLimited, Rejected])
def test_a_key_that_fails_comes_back_for_what_else_there_is_to_do(kind: type[ClientError]) -> None:
    """The waits are for what failed, not for that."""
    with running(first_backoff_seconds=1, longest_backoff_seconds=100) as run:
        run.add(A)
        for within, wait in ((60.0, 1.0), (10.0, 2.0), (3.0, 3.0), (3.0, 3.0), (0.0, 1.0)):
            error = kind("later")
            error.back_within_seconds = within
            run.fail(A, error)
            run.loop.advance(wait - 0.01)
            assert run.work.under_way == {}
            run.loop.advance(0.02)
        asked = RateLimited("later", retry_after_seconds=3600)
        asked.back_within_seconds = 10
        run.fail(A, asked)
        run.loop.advance(10.01)
        run.succeed(A)


@pytest.mark.parametrize(("jitter", "wait"), [(0.8, 54), (1.0, 45), (1.2, 54)])
def test_chance_only_lengthens_the_wait_that_another_system_asks_for(
    jitter: float, wait: float
) -> None:
    with running(first_backoff_seconds=1, jitter=jitter) as run:
        run.add(A)
        run.fail(A, RateLimited("later", retry_after_seconds=45))
        run.loop.advance(wait - 0.1)
        assert run.work.under_way == {}
        run.loop.advance(0.2)
        run.succeed(A)


def test_of_many_that_are_to_wait_as_long_no_two_come_back_in_the_same_moment() -> None:
    keys = [Key("FederatedStorageBinding", "team-b", f"b-{number}") for number in range(40)]
    with running(workers=40) as run:
        run.queue._jitter = Queue(run.work, ReconcileSettings())._jitter
        run.add(*keys)
        for key in keys:
            run.fail(key, RateLimited("later", retry_after_seconds=45))
        run.loop.advance(60)
        came = sorted(run.work.times(key)[1] for key in keys)
        for key in keys:
            run.succeed(key)
    assert came[0] >= 45
    assert came[-1] <= 45 * 1.2 + 0.01
    assert len({round(moment, 4) for moment in came}) >= 38


def test_everything_is_looked_at_at_once_and_on_the_resync_period() -> None:
    with running(lambda: [A, B], resync_seconds=60) as run:
        for _ in range(3):
            assert set(run.work.under_way) == {A, B}
            run.succeed(A)
            run.succeed(B)
            run.loop.advance(60)
        run.succeed(A)
        run.succeed(B)
        assert run.work.times(A) == [0, 60, 120, 180]


def test_what_was_added_before_the_queue_runs_is_not_forgotten() -> None:
    loop = VirtualLoop()
    work = Work(loop)
    queue = Queue(work, ReconcileSettings())
    queue.add(A)
    task = loop.create_task(queue.run(list))
    loop.settle()
    assert set(work.under_way) == {A}
    task.cancel()
    loop.run(_ended(task))
    loop.close()


def test_stopping_ends_what_is_under_way_and_every_timer() -> None:
    with structlog.testing.capture_logs():
        run = Running(first_backoff_seconds=5)
        run.add(A, B)
        run.fail(A)
        run.stop()
    assert run.work.under_way == {}
    assert all(timer.cancelled() for timer in run.queue._timers.values())


def test_an_unknown_error_of_one_key_is_logged_with_its_trace_and_tried_again() -> None:
    with running(first_backoff_seconds=1) as run:
        with structlog.testing.capture_logs() as lines:
            run.add(A)
            run.fail(A, ValueError("x" * 1000))
        run.loop.advance(2)
        assert set(run.work.under_way) == {A}
        run.succeed(A)
    (line,) = lines
    about = {key: line[key] for key in ("event", "namespace", "name", "attempt")}
    assert about == {
        "event": "reconcile failed",
        "namespace": "team-a",
        "name": "a",
        "attempt": 1,
    }
    assert line["exc_info"] is True
    assert line["err"].startswith("ValueError: xxx")
    assert len(line["err"]) == 256


def test_a_failing_source_of_keys_ends_the_queue() -> None:
    def broken() -> list[Key]:
        raise RuntimeError("the caches are broken")

    loop = VirtualLoop()
    queue = Queue(Work(loop), ReconcileSettings())
    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="the caches are broken")):
        loop.run(queue.run(broken))
    assert asyncio.all_tasks(loop) == set()
    loop.close()


@given(
    failures=st.integers(1, 10_000),
    first=st.floats(0.001, 10),
    longest=st.floats(0.001, 1000),
)
def test_the_wait_never_shrinks_nor_exceeds_its_bound(
    failures: int, first: float, longest: float
) -> None:
    fields = ReconcileSettings(first_backoff_seconds=first, longest_backoff_seconds=longest)
    queue = _queue(fields)
    assert queue.backoff_seconds(failures) <= queue.backoff_seconds(failures + 1) <= longest
    assert queue.backoff_seconds(1) == min(first, longest)


def _queue(fields: ReconcileSettings) -> Queue:
    async def nothing(_key: Key) -> None:
        return None

    return Queue(nothing, fields)
