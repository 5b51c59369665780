"""Who leads, in virtual time: processes that are stopped, cut off, killed, or asked to end."""

import socket
from collections.abc import Iterator

import pytest

from caios_federation.clients import errors
from caios_federation.clients.lease import Election
from leases import SETTINGS, STEP, Process, World

AT_ONCE = 4 * STEP
"""A request and its answer take two steps."""
LOOKS = SETTINGS.retry_seconds + AT_ONCE
"""Within which a candidate notices a change of the Lease."""


@pytest.fixture
def world() -> Iterator[World]:
    with World() as world:
        yield world


def orderly(world: World) -> bool:
    """Tell whether each write was carried out while the Lease named its writer."""
    return all(write.by == write.holder for write in world.writes)


def writers(world: World) -> list[str]:
    """Return who wrote, in order, each once in a row."""
    names = [write.by for write in world.writes]
    return [name for place, name in enumerate(names) if names[place - 1 : place] != [name]]


def pair(world: World) -> tuple[Process, Process]:
    """Return one process that leads, and another one that waits."""
    first = world.start("first")
    world.until(lambda: first.acting == 1)
    second = world.start("second", epoch=1e6)
    world.advance(5)
    return first, second


def test_one_that_is_alone_leads_at_once(world: World) -> None:
    only = world.start("only")
    assert world.until(lambda: only.acting == 1) <= AT_ONCE
    assert only.leading
    world.advance(120)
    assert writers(world) == ["only"]
    lease = world.server.read()
    assert lease["spec"]["leaseDurationSeconds"] == 15
    assert lease["spec"]["leaseTransitions"] == 0
    assert lease["spec"]["renewTime"] > lease["spec"]["acquireTime"]


def test_of_two_one_acts_for_as_long_as_it_lives(world: World) -> None:
    _, second = pair(world)
    world.advance(300)
    assert writers(world) == ["first"]
    assert second.acting == 0


def test_one_that_is_killed_is_followed_within_the_lease_time(world: World) -> None:
    first, second = pair(world)
    first.kill()
    seconds = world.until(lambda: second.acting == 1)
    assert SETTINGS.renew_deadline_seconds < seconds <= SETTINGS.duration_seconds + LOOKS
    assert world.server.read()["spec"]["leaseTransitions"] == 1


def test_one_that_ends_in_order_is_followed_at_the_next_look(world: World) -> None:
    first, second = pair(world)
    first.terminate()
    assert world.until(lambda: second.acting == 1) <= LOOKS
    assert first.task.done()
    assert orderly(world)


def test_the_lease_is_given_back_last(world: World) -> None:
    first, second = pair(world)
    first.work.back = 2
    world.advance(1)
    first.terminate()
    while first.acting:
        assert world.server.holder == "first"
        world.advance(STEP)
    world.until(lambda: second.acting == 1)
    assert first.task.done()
    assert orderly(world)


def test_one_whose_write_was_cut_off_does_not_give_the_lease_back(world: World) -> None:
    """The write may come about later; nobody else should have begun by then."""
    first, second = pair(world)
    first.work.there = 6
    world.advance(1)
    first.terminate()
    assert world.until(first.task.done) <= 3 + 2 * STEP
    assert world.server.holder == "first"
    world.until(lambda: second.acting == 1)
    assert orderly(world)


def test_one_that_hears_nothing_ends_in_time_and_then_in_order(world: World) -> None:
    first, _ = pair(world)
    first.link.lost = True
    first.terminate()
    assert world.until(first.task.done) <= 2 + 4 * STEP
    assert "not given back" in first.troubles[-1]


@pytest.mark.parametrize("broken", ["lost", "answers_lost"])
def test_one_that_is_cut_off_stops_before_another_may_begin(world: World, broken: str) -> None:
    first, second = pair(world)
    setattr(first.link, broken, True)
    world.until(lambda: first.acting == 0)
    assert second.acting == 0
    assert not first.leading
    assert not first.task.done()
    world.advance(60)
    assert second.acting == 1
    setattr(first.link, broken, False)
    world.advance(60)
    assert first.acting + second.acting == 1
    assert orderly(world)


def test_what_waits_for_an_answer_is_given_up_in_time_too(world: World) -> None:
    """It sends nothing that could be held back; it has to be cancelled."""
    first, _ = pair(world)
    first.work.lost = True
    world.advance(1)
    first.link.lost = True
    seconds = world.until(lambda: first.acting == 0)
    assert seconds <= SETTINGS.renew_deadline_seconds + AT_ONCE


def test_time_to_act_counts_from_before_a_renewal_that_is_answered_late(world: World) -> None:
    """The others may have seen it when it was written, long before its answer came."""
    first, _ = pair(world)
    first.link.back = 4.5

    def renewed() -> object:
        return world.server.read()["spec"]["renewTime"]

    world.advance(10)
    before = renewed()
    world.until(lambda: renewed() != before)
    first.link.lost = True
    seconds = world.until(lambda: first.acting == 0)
    assert seconds <= SETTINGS.renew_deadline_seconds


@pytest.mark.parametrize(
    "refusal", [errors.Unavailable, errors.PermissionDenied, errors.Unauthenticated]
)
def test_trouble_with_the_api_server_costs_the_lead_and_not_the_process(
    world: World, refusal: type[errors.ClientError]
) -> None:
    only = world.start("only")
    only.link.refused = refusal
    world.advance(30)
    assert only.acting == 0
    assert only.troubles
    only.link.refused = None
    assert world.until(lambda: only.acting == 1) <= LOOKS
    only.link.refused = refusal
    world.advance(9)
    assert only.acting == 1
    world.advance(5)
    assert only.acting == 0
    only.link.refused = None
    assert world.until(lambda: only.acting == 1) <= LOOKS


@pytest.mark.parametrize("seconds", [11, 14, 16, 60, 3600])
def test_one_that_was_stopped_for_long_writes_nothing_when_it_goes_on(
    world: World, seconds: float
) -> None:
    first, second = pair(world)
    first.stopped = True
    world.advance(min(seconds, 100))
    written = len([write for write in world.writes if write.by == "first"])
    first.stopped = False
    world.advance(STEP)
    assert len([write for write in world.writes if write.by == "first"]) == written
    assert first.acting == 0
    world.advance(40)
    assert first.acting + second.acting == 1
    assert orderly(world)


def test_a_write_that_was_under_way_when_it_was_stopped_is_not_followed_by_another(
    world: World,
) -> None:
    """The answer is there when it goes on; what waits for it must not write the next thing."""
    first, second = pair(world)
    first.work.back = 1
    world.advance(STEP)
    first.stopped = True
    world.until(lambda: second.acting == 1)
    first.stopped = False
    world.advance(30)
    assert writers(world) == ["first", "second"]
    assert orderly(world)


def test_one_that_was_stopped_while_it_waited_does_not_take_what_was_renewed(
    world: World,
) -> None:
    _, second = pair(world)
    second.link.back = 1
    world.advance(2)
    second.stopped = True
    world.advance(60)
    second.stopped = False
    world.advance(60)
    assert writers(world) == ["first"]


def test_it_is_not_competed_for_again_before_what_acted_has_ended(world: World) -> None:
    only = world.start("only")
    world.until(lambda: only.acting == 1)
    only.ending_takes = 30
    only.link.lost = True
    world.advance(12)
    only.link.lost = False
    world.advance(20)
    assert only.acting == 1  # it still ends
    assert not only.leading
    world.advance(30)
    assert only.acting == 1
    assert only.leading


def test_a_lease_that_is_removed_is_made_again_by_who_has_it(world: World) -> None:
    first, _ = pair(world)
    world.server.lease = None
    world.until(lambda: world.server.holder == "first", LOOKS)
    world.advance(60)
    assert writers(world) == ["first"]
    assert first.acting == 1


def test_a_lease_that_is_removed_with_its_holder_gone_is_taken_when_it_would_be_old(
    world: World,
) -> None:
    first, second = pair(world)
    first.kill()
    world.server.lease = None
    assert world.until(lambda: second.acting == 1) <= SETTINGS.duration_seconds + LOOKS


def test_who_sees_another_ones_name_stops_at_once(world: World) -> None:
    first, _ = pair(world)
    assert world.server.lease is not None
    world.server.lease["spec"]["holderIdentity"] = "somebody"
    world.server.lease["metadata"]["resourceVersion"] = "x"
    world.until(lambda: first.acting == 0, LOOKS)
    world.advance(14)
    assert first.acting == 0


def test_labels_of_others_cost_nobody_the_lead(world: World) -> None:
    first, _ = pair(world)
    for number in range(20):
        assert world.server.lease is not None
        version = f"{world.server.lease['metadata']['resourceVersion']}-{number}"
        world.server.lease["metadata"] |= {"labels": {"a": str(number)}, "resourceVersion": version}
        world.advance(3)
    assert writers(world) == ["first"]
    assert first.acting == 1
    assert world.server.read()["metadata"]["labels"] == {"a": "19"}


def test_a_lease_of_nobody_is_taken_at_once(world: World) -> None:
    world.server.lease = {"metadata": {"name": "controller", "resourceVersion": "1"}}
    only = world.start("only")
    assert world.until(lambda: only.acting == 1) <= AT_ONCE


def test_who_is_promised_more_time_gets_it(world: World) -> None:
    """Its settings may differ from ours, such as while they are being changed."""
    spec = {"holderIdentity": "old", "leaseDurationSeconds": 40}
    meta = {"name": "controller", "resourceVersion": "1"}
    world.server.lease = {"metadata": meta, "spec": spec}
    only = world.start("only")
    assert 40 <= world.until(lambda: only.acting == 1) <= 40 + LOOKS


def test_what_acts_ends_the_competition_when_it_fails_and_gives_the_lease_back(
    world: World,
) -> None:
    only = world.start("only")
    world.until(lambda: only.acting == 1)
    only.failure = RuntimeError("a bug")
    world.until(only.task.done)
    assert only.task.exception() is only.failure
    assert world.server.holder == ""


def test_an_identity_is_not_used_twice(world: World) -> None:
    store = world.start("only")
    names = {Election(store, "operators", SETTINGS).identity for _ in range(9)}
    assert len(names) == 9
    assert {name.rpartition("_")[0] for name in names} == {socket.gethostname()}
