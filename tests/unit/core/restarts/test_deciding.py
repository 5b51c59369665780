"""Whether what owns Pods that missed injection is restarted."""

import datetime as dt
from dataclasses import replace

import pytest

from builders import Json, words
from caios_federation.core.pods import CountedPod, Owner
from caios_federation.core.restarts import (
    SETTLING,
    AlreadyRestarting,
    CannotRoll,
    Decision,
    Later,
    NotAgain,
    NotServing,
    Restart,
    Workload,
    decide_restart,
    due_evictions,
    is_whole,
    next_step,
    not_restarted,
    read_workload,
    refused,
    render_restart,
    render_rollout,
    told_of,
)

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
COOLDOWN = dt.timedelta(minutes=10)
TRAINER = Workload("Deployment", "trainer")
LONG = NOW - dt.timedelta(days=1)


def ago(minutes: float) -> dt.datetime:
    return NOW - dt.timedelta(minutes=minutes)


def counted(created: dt.datetime, *, federated: bool = False, ready: bool = False) -> CountedPod:
    name = f"p-{created:%H%M%S}"
    return CountedPod(name, f"u-{name}", created, federated=federated, ready=ready, owner=None)


def decide(
    workload: Workload, *pods: CountedPod, injecting_since: dt.datetime | None = LONG
) -> Decision:
    return decide_restart(workload, pods, NOW, COOLDOWN, injecting_since)


def restarted(minutes: float, in_vain: int = 0) -> Workload:
    return replace(TRAINER, restarted_at=ago(minutes), in_vain=in_vain)


def test_a_workload_is_restarted_at_once_the_first_time() -> None:
    assert decide(TRAINER, counted(ago(60))) == Restart()


def test_nothing_is_restarted_while_new_pods_would_miss_too() -> None:
    assert decide(TRAINER, counted(ago(60)), injecting_since=None) == NotServing()


def test_nothing_is_restarted_before_everybody_can_know_of_the_webhook() -> None:
    since = NOW - dt.timedelta(seconds=4)
    assert decide(TRAINER, counted(ago(60)), injecting_since=since) == Later(
        SETTLING.total_seconds() - 4
    )


def test_pods_older_than_the_restart_are_being_replaced() -> None:
    pods = counted(ago(9)), counted(ago(3), federated=True)
    assert decide(restarted(5), *pods) == AlreadyRestarting()


def test_no_restart_answers_new_pods_that_all_missed_again() -> None:
    assert decide(restarted(60), counted(ago(59)), counted(ago(90))) == NotAgain()


def test_an_outage_that_ended_is_cause_for_another_restart() -> None:
    pod = counted(ago(59))
    assert decide(restarted(60), pod, injecting_since=ago(30)) == Restart()


def test_pods_from_before_a_cause_has_settled_are_excused_and_later_ones_are_not() -> None:
    since = ago(30)
    assert decide(restarted(60), counted(since + SETTLING / 2), injecting_since=since) == Restart()
    assert decide(restarted(60), counted(since + SETTLING), injecting_since=since) == NotAgain()


def test_a_restart_for_a_cause_that_is_not_over_for_everybody_yet_is_waited_for() -> None:
    soon = NOW + dt.timedelta(minutes=5)
    assert decide(restarted(60), counted(ago(1)), injecting_since=soon) == Later(
        300 + SETTLING.total_seconds()
    )


def test_new_pods_that_all_carry_another_principal_are_told_apart() -> None:
    stale = replace(counted(ago(59)), stale=True)
    assert decide(restarted(60), stale) == NotAgain(stale=True)
    assert decide(restarted(60), stale, counted(ago(58))) == NotAgain()


def test_another_restart_waits_for_the_cooldown() -> None:
    pod = counted(ago(5))
    assert decide(restarted(6), pod, injecting_since=ago(3)) == Later(4 * 60)


def test_new_pods_of_which_some_were_injected_are_cause_for_another_restart() -> None:
    pods = counted(ago(59)), counted(ago(58), federated=True)
    assert decide(restarted(60), *pods) == Restart(in_vain=1)


def test_an_injected_pod_from_before_the_restart_is_no_evidence() -> None:
    pods = counted(ago(59)), counted(ago(61), federated=True)
    assert decide(restarted(60), *pods) == NotAgain()


@pytest.mark.parametrize(("in_vain", "minutes"), [(0, 10), (1, 20), (2, 40), (5, 320)])
def test_restarts_that_reach_only_some_pods_come_at_doubling_distances(
    in_vain: int, minutes: int
) -> None:
    pods = counted(ago(4)), counted(ago(3), federated=True)
    assert decide(restarted(5, in_vain), *pods) == Later((minutes - 5) * 60)
    pods = counted(ago(minutes - 1)), counted(ago(minutes - 2), federated=True)
    assert decide(restarted(minutes, in_vain), *pods) == Restart(in_vain + 1)


def test_an_outage_begins_the_doubling_anew() -> None:
    pods = counted(ago(59)), counted(ago(1), federated=True)
    assert decide(restarted(60, in_vain=9), *pods, injecting_since=ago(30)) == Restart(0)


def test_an_obstacle_is_told_even_while_nothing_serves() -> None:
    paused = replace(TRAINER, obstacle="paused")
    assert decide(paused, counted(ago(60)), injecting_since=None) == CannotRoll("paused")


# Reading and writing ----------------------------------------------------------------------------


def body(**spec: object) -> Json:
    return {"metadata": {"name": "trainer", "namespace": "team-a"}, "spec": spec}


def test_a_workload_that_was_never_restarted_is_read() -> None:
    assert read_workload("Deployment", body()) == TRAINER


def test_a_restart_is_remembered_by_the_workload_and_by_its_template() -> None:
    meta = {"name": "trainer", "namespace": "team-a", "resourceVersion": "7"}
    patch = render_rollout(meta, Restart(2), NOW)
    assert patch["metadata"]["resourceVersion"] == "7"
    noted = replace(TRAINER, restarted_at=NOW, in_vain=2)
    assert read_workload("Deployment", patch) == noted
    stripped = {**patch, "spec": {"template": {}}}
    assert read_workload("Deployment", stripped) == noted
    only_template = {**patch, "metadata": {"name": "trainer"}}
    assert read_workload("Deployment", only_template) == replace(noted, in_vain=0)


def test_a_restart_for_a_cause_that_is_over_removes_the_count() -> None:
    meta = {"name": "trainer", "namespace": "team-a", "resourceVersion": "7"}
    assert render_restart(meta, Restart(), NOW)["metadata"]["annotations"] == {
        "caios.coreweave.com/restarted-at": "2026-11-24T12:00:00Z",
        "caios.coreweave.com/restarts-in-vain": None,
    }


@pytest.mark.parametrize("text", ["", "soon", "-1", "²", "9" * 99, 5, None])
def test_annotations_that_make_no_sense_are_read_as_none(text: object) -> None:
    raw = body()
    raw["metadata"]["annotations"] = words() | {
        "caios.coreweave.com/restarted-at": text,
        "caios.coreweave.com/restarts-in-vain": text,
    }
    assert read_workload("Deployment", raw) == TRAINER


@pytest.mark.parametrize(
    ("kind", "spec", "word"),
    [
        ("Deployment", {"paused": True}, "spec.paused"),
        ("StatefulSet", {"updateStrategy": {"type": "OnDelete"}}, "OnDelete"),
        ("DaemonSet", {"updateStrategy": {"type": "OnDelete"}}, "OnDelete"),
        ("StatefulSet", {"updateStrategy": {"rollingUpdate": {"partition": 2}}}, "partition"),
    ],
)
def test_a_workload_whose_template_replaces_no_pods_is_left_to_people(
    kind: str, spec: Json, word: str
) -> None:
    obstacle = read_workload(kind, body(**spec)).obstacle
    assert obstacle is not None
    assert obstacle.startswith(f"{kind} 'trainer'")
    assert word in obstacle


def test_a_partition_of_nothing_is_no_obstacle() -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    assert read_workload("StatefulSet", body(updateStrategy=strategy)).obstacle is None


# Evictions --------------------------------------------------------------------------------------


def test_pods_that_serve_nobody_are_evicted_first() -> None:
    ready, unready = counted(ago(9), ready=True), counted(ago(8))
    assert list(due_evictions([ready, unready], NOW, whole=True)) == [unready]


def test_one_pod_that_serves_is_evicted_while_all_serve() -> None:
    first, second = counted(ago(9), ready=True), counted(ago(8), ready=True)
    assert list(due_evictions([second, first], NOW, whole=True)) == [first]
    assert list(due_evictions([second, first], NOW, whole=False)) == []


def test_neither_injected_nor_new_pods_are_evicted() -> None:
    injected, new = counted(ago(9), federated=True), counted(ago(1))
    assert list(due_evictions([injected, new], ago(5), whole=True)) == []


def test_at_most_ten_pods_are_evicted_at_once() -> None:
    pods = [counted(ago(60 - minute)) for minute in range(30)]
    assert list(due_evictions(pods, NOW, whole=True)) == pods[:10]


@pytest.mark.parametrize(
    ("spec", "status", "whole"),
    [
        ({"replicas": 2}, {"readyReplicas": 2}, True),
        ({"replicas": 2}, {"readyReplicas": 1}, False),
        ({"replicas": 2}, {}, False),
        ({}, {"readyReplicas": 1}, True),
        ({"replicas": 0}, {}, True),
    ],
)
def test_a_replica_set_is_whole_when_all_that_it_wants_are_ready(
    spec: Json, status: Json, whole: bool
) -> None:
    assert is_whole({"spec": spec, "status": status}) is whole


# Messages ---------------------------------------------------------------------------------------

JOB = not_restarted(Owner("batch/v1", "Job", "once", "u"))
BARE = not_restarted(None)


def why(workload: Workload) -> CannotRoll:
    assert workload.obstacle is not None
    return CannotRoll(workload.obstacle)


def test_what_a_person_has_to_do_is_said_before_what_is_done() -> None:
    said = next_step([(TRAINER, Restart()), (JOB, why(JOB))])
    assert said == (
        "the operator does not restart what a Job runs; delete its Pods, or create it anew; "
        "Deployment 'trainer' is being restarted"
    )


@pytest.mark.parametrize("decision", [Restart(), AlreadyRestarting(), Later(3)])
def test_a_restart_is_told_in_the_same_words_from_its_beginning_to_its_end(
    decision: Decision,
) -> None:
    assert next_step([(TRAINER, decision)]) == "Deployment 'trainer' is being restarted"


def test_many_jobs_are_told_of_once() -> None:
    other = replace(JOB, name="twice")
    assert next_step([(JOB, why(JOB)), (other, why(other))]) == JOB.obstacle


def test_pods_without_a_controller_are_left_to_people() -> None:
    assert "without a controller" in next_step([(BARE, why(BARE))])


def test_a_restart_that_did_not_help_is_told() -> None:
    said = next_step([(TRAINER, NotAgain())])
    assert said.startswith("Deployment 'trainer' was restarted and its new Pods missed")


def test_a_restart_after_which_pods_carry_another_principal_is_told_as_what_it_is() -> None:
    said = next_step([(TRAINER, NotAgain(stale=True))])
    assert said == (
        "Deployment 'trainer' was restarted and its new Pods carry another principal too; find "
        "out why, then restart it"
    )


def test_what_pods_lack_is_told_with_how_many_they_are() -> None:
    missed, stale = counted(ago(9)), replace(counted(ago(8)), stale=True)
    assert told_of([missed, missed, counted(ago(7), federated=True)]) == (
        "2 Pods had missed injection"
    )
    assert told_of([missed, stale]) == (
        "1 Pod had missed injection, 1 Pod carried another principal"
    )


def test_a_restart_that_waits_for_the_webhook_points_to_its_condition() -> None:
    assert "InjectionServing" in next_step([(TRAINER, NotServing())])


def test_what_the_operator_may_not_do_is_told_with_the_answer() -> None:
    denied = refused("Deployment", "trainer", "API server: PATCH: 403 forbidden")
    said = next_step([(denied, why(denied))])
    assert said.startswith("the operator may not restart Deployment 'trainer': API server: PATCH")


def test_a_message_is_short_however_many_owners_there_are() -> None:
    many: list[tuple[Workload, Decision]] = [
        (replace(TRAINER, name=f"{n}" * 253), decision)
        for n in range(9)
        for decision in (Restart(), NotAgain(), CannotRoll("x" * 999))
    ]
    assert len(next_step(many)) <= 320
    assert next_step(many).endswith("; …")
