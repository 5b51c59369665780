"""The circuit: it lets one probe through at a time, and is never longer closed than it says."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from caios_federation.clients.circuit import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    MOST_UNDER_WAY,
    Circuit,
    Pass,
    Refusal,
)

QUICK, SLOW = 0.03, 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Line:
    """A circuit, and what is under way through it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.circuit = Circuit(self.clock)
        self.under_way: list[Pass] = []

    def ask(self) -> float:
        """Ask for one more request; return the seconds of a refusal, 0 for none."""
        foretold = self.circuit.refusal()
        given = self.circuit.enter()
        if isinstance(given, Refusal):
            assert given == foretold
            assert given.seconds > 0
            return given.seconds
        assert foretold is None
        self.under_way.append(given)
        return 0.0

    def end(self, *, alive: bool | None, seconds: float = QUICK, index: int = 0) -> None:
        self.circuit.leave(self.under_way.pop(index), alive=alive, seconds=seconds)

    def try_once(self, *, alive: bool, seconds: float = QUICK) -> float:
        """Send a request that ends so, if it is let through."""
        refused = self.ask()
        if not refused:
            self.end(alive=alive, seconds=seconds)
        return refused


class CircuitMachine(RuleBasedStateMachine):
    """Any order of asking, answering, failing, giving up and waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.line = Line()

    @rule()
    def ask(self) -> None:
        assert self.line.ask() <= LONGEST_PAUSE

    @precondition(lambda self: self.line.under_way)
    @rule(data=st.data(), seconds=st.sampled_from([QUICK, 2.0, SLOW]))
    def fail(self, data: st.DataObject, seconds: float) -> None:
        self.line.end(alive=False, seconds=seconds, index=self._one(data))

    @precondition(lambda self: self.line.under_way)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        self.line.end(alive=None, index=self._one(data))

    @precondition(lambda self: self.line.under_way)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        self.line.end(alive=True, index=self._one(data))
        if len(self.line.under_way) < MOST_UNDER_WAY:
            assert self.line.ask() == 0, "refused although the service has just answered"

    @rule(seconds=st.sampled_from([0.1, 1.0, FIRST_PAUSE, LONGEST_PAUSE]))
    def wait(self, seconds: float) -> None:
        self.line.clock.now += seconds

    def _one(self, data: st.DataObject) -> int:
        return data.draw(st.integers(0, len(self.line.under_way) - 1))

    @invariant()
    def at_most_one_probes(self) -> None:
        assert sum(given.probe for given in self.line.under_way) <= 1

    @invariant()
    def not_too_many_are_under_way(self) -> None:
        # The one more is a probe, beside those that were sent before the pause.
        assert len(self.line.under_way) <= MOST_UNDER_WAY + 1

    def teardown(self) -> None:
        """Whatever was: a service that is well again is found to be within the longest pause."""
        while self.line.under_way:
            self.line.end(alive=None)
        self.line.clock.now += self.line.try_once(alive=True)
        assert [self.line.try_once(alive=True) for _ in range(3)] == [0, 0, 0]
        super().teardown()


TestCircuit = CircuitMachine.TestCase
TestCircuit.settings = settings(stateful_step_count=40)


def open_line() -> Line:
    line = Line()
    assert line.try_once(alive=False, seconds=SLOW) == 0
    return line


def test_one_failure_that_took_long_opens_it() -> None:
    assert open_line().ask() == FIRST_PAUSE


def test_a_quick_failure_does_not_open_it() -> None:
    line = Line()
    line.try_once(alive=False)
    assert line.ask() == 0


def test_ten_quick_failures_in_a_row_open_it() -> None:
    line = Line()
    assert [line.try_once(alive=False) for _ in range(10)] == [0] * 10
    assert line.ask() == FIRST_PAUSE


def test_an_answer_in_between_forgets_the_failures_before() -> None:
    line = Line()
    for _ in range(20):
        assert line.try_once(alive=False, seconds=4.9) == 0
        assert line.try_once(alive=True) == 0


def test_each_probe_that_fails_doubles_the_pause_up_to_the_longest() -> None:
    line, pauses = open_line(), []
    for _ in range(5):
        pauses.append(line.ask())
        line.clock.now += pauses[-1]
        assert line.try_once(alive=False) == 0
    assert pauses == [5, 10, 15, 15, 15]


def test_an_answer_of_the_probe_closes_it_and_the_next_pause_is_short_again() -> None:
    line = open_line()
    line.clock.now += FIRST_PAUSE
    line.try_once(alive=False)
    line.clock.now += 2 * FIRST_PAUSE
    assert line.try_once(alive=True) == 0
    assert line.try_once(alive=False, seconds=SLOW) == 0
    assert line.ask() == FIRST_PAUSE


def test_while_one_probes_the_others_are_refused_and_asked_to_come_back_soon() -> None:
    line = open_line()
    line.clock.now += FIRST_PAUSE
    assert line.ask() == 0
    assert 0 < line.ask() <= 1


def test_while_one_probes_what_another_answer_lets_through_is_no_probe() -> None:
    line = Line()
    line.ask()
    line.ask()
    line.end(alive=False, seconds=SLOW)
    line.clock.now += FIRST_PAUSE
    line.ask()
    line.end(alive=True)
    line.ask()
    assert [given.probe for given in line.under_way] == [True, False]


@pytest.mark.parametrize("alive", [None, False])
def test_a_probe_that_ends_in_any_way_makes_room_for_another(alive: bool | None) -> None:
    line = open_line()
    line.clock.now += FIRST_PAUSE
    line.ask()
    line.end(alive=alive)
    line.clock.now += LONGEST_PAUSE
    assert line.ask() == 0


def test_failures_of_requests_from_before_the_pause_do_not_lengthen_it() -> None:
    line = Line()
    for _ in range(8):
        line.ask()
    for _ in range(8):
        line.end(alive=False, seconds=SLOW)
    assert line.ask() == FIRST_PAUSE


def test_of_too_many_at_once_those_beyond_are_refused_until_one_ends() -> None:
    line = Line()
    assert [line.ask() for _ in range(MOST_UNDER_WAY)] == [0] * MOST_UNDER_WAY
    assert 0 < line.ask() <= 1
    line.end(alive=True)
    assert line.ask() == 0
