"""Looks at what surrounds a federation: on a period of their own, sooner while it is bad."""

from caios_federation.api.conditions import Finding, Reason, Status
from caios_federation.reconcile.looks import Look, Looks

GOOD = Finding(Status.TRUE, Reason.SERVING, "It is.")
BAD = Finding(Status.FALSE, Reason.NO_READY_REPLICA, "It is not.")
UNKNOWN = Finding(Status.UNKNOWN, Reason.PENDING, "Who knows?")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_look_is_good_while_nothing_is_wrong_or_unknown() -> None:
    assert Look(GOOD).good
    assert Look(GOOD, GOOD, GOOD).good
    for finding in (BAD, UNKNOWN):
        assert not Look(finding).good
        assert not Look(GOOD, api_token=finding).good
        assert not Look(GOOD, trust=finding).good


def test_the_next_look_comes_sooner_while_something_is_wrong() -> None:
    looks = Looks(60)
    assert [looks.wait_seconds(Look(finding)) for finding in (GOOD, BAD, UNKNOWN)] == [60, 10, 10]


def test_a_look_is_kept_until_the_next_is_due_however_the_queue_jitters() -> None:
    clock = Clock()
    looks = Looks(60, clock)
    for look, wait in ((Look(GOOD), 60), (Look(BAD), 10)):
        looks.took("default", "spec", look)
        clock.now += wait * 0.7
        assert looks.recent("default", "spec") is look
        clock.now += wait * 0.1  # the queue's jitter is 0.8 to 1.2
        assert looks.recent("default", "spec") is None


def test_a_look_is_at_one_federation_as_it_was() -> None:
    looks = Looks(60, Clock())
    looks.took("default", "spec", Look(GOOD))
    assert looks.recent("default", "spec") == Look(GOOD)
    assert looks.recent("default", "another spec") is None
    assert looks.recent("other", "spec") is None


def test_what_was_never_looked_at_is_looked_at() -> None:
    assert Looks(60, Clock()).recent("default", None) is None
