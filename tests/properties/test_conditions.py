"""Law 12: conditions say what was found, and their times move only when a status flips."""

from collections.abc import Mapping
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from caios_federation.api.conditions import ConditionType, Finding, Reason, Status
from caios_federation.core.conditions import merge_conditions, ready, render_condition
from caios_federation.core.status import is_ready, same_status

Json = dict[str, Any]
JUDGED = [kind for kind in ConditionType if kind is not ConditionType.READY]
FINDINGS = st.dictionaries(
    st.sampled_from(JUDGED),
    st.builds(Finding, st.sampled_from(Status), st.sampled_from(Reason), st.text(max_size=20)),
)
TIMES = st.datetimes().map(lambda when: when.strftime("%Y-%m-%dT%H:%M:%SZ"))
LATER = "2026-11-24T12:00:00Z"
ODD = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from([*ConditionType, "SomebodyElses", None]),
        "status": st.sampled_from([*Status, "true", None]),
        "lastTransitionTime": st.one_of(TIMES, st.none()),
    },
)
"""Conditions as anybody with access to the status may have left them."""


def merged(
    previous: list[Json], findings: Mapping[ConditionType, Finding], now: str = LATER
) -> list[Json]:
    conditions = merge_conditions(previous, findings, generation=3, now=now)
    return [render_condition(condition) for condition in conditions]


def by_type(conditions: list[Json]) -> dict[str, Json]:
    return {condition["type"]: condition for condition in conditions}


@given(FINDINGS, FINDINGS, TIMES)
def test_the_time_moves_if_and_only_if_the_status_flips(
    before: dict[ConditionType, Finding], after: dict[ConditionType, Finding], then: str
) -> None:
    first = merged([], before, then)
    old, new = by_type(first), by_type(merged(first, after))
    for kind, condition in new.items():
        same = kind in old and old[kind]["status"] == condition["status"]
        assert condition["lastTransitionTime"] == (then if same else LATER)


@given(FINDINGS, st.lists(ODD))
def test_ready_is_true_if_and_only_if_every_other_one_is(
    findings: dict[ConditionType, Finding], previous: list[Json]
) -> None:
    conditions = merged(previous, findings)
    others, last = conditions[:-1], conditions[-1]
    assert last["type"] == "Ready"
    everything = all(condition["status"] == "True" for condition in others)
    assert (last["status"] == "True") == everything
    assert is_ready({"conditions": conditions}) == everything


@given(FINDINGS)
def test_ready_carries_what_the_first_that_does_not_hold_has_found(
    findings: dict[ConditionType, Finding],
) -> None:
    first = next((f for f in findings.values() if f.status is not Status.TRUE), None)
    assert ready(findings) == (first or Finding(Status.TRUE, Reason.READY, ready({}).message))


@given(FINDINGS, st.lists(ODD), TIMES)
def test_merging_twice_is_merging_once(
    findings: dict[ConditionType, Finding], previous: list[Json], then: str
) -> None:
    once = merged(previous, findings, then)
    assert merged(once, findings, LATER) == once


@given(FINDINGS, st.lists(ODD))
def test_a_status_has_each_condition_once_of_this_generation_and_with_a_time(
    findings: dict[ConditionType, Finding], previous: list[Json]
) -> None:
    conditions = merged(previous, findings)
    assert [condition["type"] for condition in conditions] == [*findings, "Ready"]
    for condition in conditions:
        assert condition["observedGeneration"] == 3
        assert condition["lastTransitionTime"]
        assert len(condition["message"]) <= 4096


@given(st.text(max_size=40).map(lambda end: "m" * 4080 + end) | st.just("ü" * 40_000))
def test_a_long_message_is_cut(message: str) -> None:
    findings = {ConditionType.ACCEPTED: Finding(Status.FALSE, Reason.INVALID_SPEC, message)}
    assert {condition["message"] for condition in merged([], findings)} == {message[:4096]}


@given(FINDINGS, st.randoms())
def test_the_order_of_conditions_makes_no_difference(
    findings: dict[ConditionType, Finding], random: Random
) -> None:
    conditions = merged([], findings)
    shuffled = random.sample(conditions, len(conditions))
    status = {"observedGeneration": 3, "conditions": conditions}
    assert same_status(status, {**status, "conditions": shuffled})


@given(FINDINGS, FINDINGS)
def test_statuses_of_different_conditions_differ(
    left: dict[ConditionType, Finding], right: dict[ConditionType, Finding]
) -> None:
    same = by_type(merged([], left)) == by_type(merged([], right))
    assert same_status({"conditions": merged([], left)}, {"conditions": merged([], right)}) == same


def test_facts_are_part_of_a_status() -> None:
    assert not same_status({"issuer": "a", "conditions": []}, {"conditions": []})
    assert not same_status({"issuer": "a"}, {"issuer": "b"})
    assert same_status({"issuer": "a"}, {"issuer": "a"})
