"""Fault rules: which requests they hit, and that a run can be repeated."""

from __future__ import annotations

import pytest

from caios_testbed.coreweave.errors import ApiError
from caios_testbed.coreweave.faults import Faults
from caios_testbed.coreweave.settings import Knobs


def hits(faults: Faults, *operations: str) -> list[bool]:
    return [faults.draw(operation) is not None for operation in operations]


def test_a_rule_hits_the_operations_that_it_names() -> None:
    faults = Faults()
    faults.replace({"rules": [{"operation": "S3.*", "status": 503}]})
    assert hits(faults, "S3.GetObject", "WhoAmI", "S3.ListBuckets") == [True, False, True]


def test_a_rule_can_wait_and_can_end() -> None:
    faults = Faults()
    faults.replace({"rules": [{"status": 500, "skip": 1, "count": 2}]})
    assert hits(faults, *["WhoAmI"] * 5) == [False, True, True, False, False]
    assert faults.document()["rules"][0]["hits"] == 2


def test_the_same_seed_draws_the_same() -> None:
    drawn = []
    for seed in (7, 7, 8):
        faults = Faults()
        faults.replace({"seed": seed, "rules": [{"status": 500, "probability": 0.5}]})
        drawn.append(hits(faults, *["WhoAmI"] * 64))
    assert drawn[0] == drawn[1] != drawn[2]
    assert 0 < sum(drawn[0]) < 64


@pytest.mark.parametrize(
    "rule",
    [
        {"probability": 2},
        {"count": -1},
        {"status": 99},
        {"body": "strange"},
        {"latencySeconds": "1"},
        {"dropConnection": 1},
        {"unknown": 1},
        {"operation": ""},
        7,
    ],
)
def test_a_bad_rule_is_refused_and_changes_nothing(rule: object) -> None:
    faults = Faults()
    faults.replace({"rules": [{"status": 503}]})
    with pytest.raises(ApiError):
        faults.replace({"rules": [rule]})
    assert len(faults.rules) == 1


def test_knobs_are_set_by_name_and_type() -> None:
    knobs = Knobs().updated({"containerKeyLifetimeSeconds": 1800}).assigned("sessionTokens=true")
    assert (knobs.container_key_lifetime_seconds, knobs.session_tokens) == (1800, True)


@pytest.mark.parametrize(
    "change",
    [
        {"sessionTokens": 1},
        {"containerKeyLifetimeSeconds": True},
        {"x": 1},
        {"expiredKeyError": "x"},
    ],
)
def test_a_bad_knob_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ApiError):
        Knobs().updated(change)
