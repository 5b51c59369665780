"""What is said of the Pods of a binding."""

import datetime as dt

import pytest

from caios_federation.api.conditions import Reason, Status
from caios_federation.core.pods import (
    CountedPod,
    Owner,
    PodSurvey,
    Survey,
    judge_pods,
    render_pods,
)
from caios_federation.core.times import parse_time, render_time

CREATED = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
SET = Owner("apps/v1", "StatefulSet", "trainer", "u-s")
JOB = Owner("batch/v1", "Job", "once", "u-j")


def counted(name: str, *, federated: bool = False, owner: Owner | None = None) -> CountedPod:
    return CountedPod(name, f"u-{name}", CREATED, federated=federated, ready=True, owner=owner)


def test_no_pod_is_fine() -> None:
    found = judge_pods(Survey().summary())
    assert (found.status, found.reason) == (Status.TRUE, Reason.NO_PODS)
    assert found.message == "No Pod of the ServiceAccount was running when last looked at."


def test_all_pods_with_the_identity_are_fine() -> None:
    found = judge_pods(Survey((counted("a", federated=True),)).summary())
    assert (found.status, found.reason) == (Status.TRUE, Reason.ALL_FEDERATED)


def test_pods_that_missed_are_named_with_the_next_step() -> None:
    seen = Survey((counted("b", owner=SET), counted("c", federated=True), counted("a", owner=JOB)))
    assert seen.summary() == PodSurvey(3, 1, ("a", "b"))
    found = judge_pods(seen.summary())
    assert (found.status, found.reason) == (Status.FALSE, Reason.PODS_MISSED)
    assert found.message == (
        "Pods without the identity: 'a', 'b'; restart what owns them, or set "
        "spec.remediation: Restart"
    )


def test_three_pods_are_named_and_the_rest_is_not_counted() -> None:
    seen = Survey(tuple(counted(name, owner=SET) for name in "edcba"))
    message = judge_pods(seen.summary()).message
    assert message.startswith("Pods without the identity: 'a', 'b', 'c' and others; ")
    fewer = Survey(tuple(counted(name, owner=SET) for name in "dcba"))
    assert judge_pods(fewer.summary()).message == message


@pytest.mark.parametrize("owner", [None, JOB])
def test_pods_that_no_restart_reaches_are_left_to_people(owner: Owner | None) -> None:
    message = judge_pods(Survey((counted("a", owner=owner),)).summary()).message
    assert "delete them" in message
    assert "Restart" not in message


def test_pods_that_could_not_be_listed_are_not_judged() -> None:
    found = judge_pods(Survey(problem="The Pods cannot be listed").summary())
    assert (found.status, found.reason) == (Status.UNKNOWN, Reason.PENDING)
    assert found.message == "The Pods cannot be listed"


def test_a_status_has_the_numbers_and_the_first_names() -> None:
    seen = Survey(tuple(counted(f"p{number:02}", owner=SET) for number in range(30)))
    assert render_pods(seen.summary()) == {
        "total": 30,
        "federated": 0,
        "missed": [f"p{number:02}" for number in range(20)],
    }


def test_a_status_has_no_list_of_pods_that_missed_where_there_are_none() -> None:
    """Server-side apply drops a list with its last entry; an empty one would never equal that."""
    seen = Survey((counted("trainer", owner=SET, federated=True),))
    assert render_pods(seen.summary()) == {"total": 1, "federated": 1}


def test_a_status_says_nothing_of_pods_that_could_not_be_listed() -> None:
    assert render_pods(Survey(problem="no right").summary()) == {}


def test_times_are_read_as_they_are_written() -> None:
    assert render_time(CREATED) == "2026-11-24T12:00:00Z"
    assert parse_time("2026-11-24T12:00:00Z") == CREATED


@pytest.mark.parametrize("text", [None, 5, "", "yesterday", "2026-11-24", "2026-11-24T12:00:00"])
def test_what_is_no_moment_is_read_as_none(text: object) -> None:
    assert parse_time(text) is None
