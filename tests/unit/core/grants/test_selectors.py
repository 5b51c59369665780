"""Label selectors match as those of Kubernetes do, and malformed ones nothing."""

import pytest

from builders import Json
from caios_federation.core.selectors import selects

LABELS = {"team": "a", "tier": "", "kubernetes.io/metadata.name": "team-a"}


def requires(key: str, operator: str, *values: str) -> Json:
    requirement: Json = {"key": key, "operator": operator}
    return {
        "matchExpressions": [{**requirement, "values": list(values)} if values else requirement]
    }


@pytest.mark.parametrize(
    "selector",
    [
        {},
        {"matchLabels": {}},
        {"matchLabels": None, "matchExpressions": None},
        {"matchLabels": {"team": "a"}},
        {"matchLabels": {"tier": ""}},
        {"matchLabels": {"kubernetes.io/metadata.name": "team-a"}},
        requires("team", "In", "a", "b"),
        requires("team", "NotIn", "b"),
        requires("stage", "NotIn", "test"),
        requires("team", "Exists"),
        requires("tier", "Exists"),
        requires("stage", "DoesNotExist"),
        {"matchExpressions": [{"key": "team", "operator": "Exists", "values": []}]},
        {**requires("team", "Exists"), "matchLabels": {"team": "a"}},
    ],
    ids=str,
)
def test_a_selector_matches(selector: Json) -> None:
    assert selects(selector, LABELS)


@pytest.mark.parametrize(
    "selector",
    [
        {"matchLabels": {"team": "b"}},
        {"matchLabels": {"stage": ""}},
        {"matchLabels": {"team": "a", "stage": "test"}},
        requires("team", "In", "b"),
        requires("stage", "In", "test"),
        requires("team", "NotIn", "a", "b"),
        requires("tier", "NotIn", ""),
        requires("stage", "Exists"),
        requires("team", "DoesNotExist"),
        {**requires("team", "Exists"), "matchLabels": {"team": "b"}},
        {**requires("stage", "Exists"), "matchLabels": {"team": "a"}},
    ],
    ids=str,
)
def test_a_selector_does_not_match(selector: Json) -> None:
    assert not selects(selector, LABELS)


@pytest.mark.parametrize(
    "selector",
    [
        None,
        {"matchLabel": {}},
        {"matchLabels": ["team"]},
        {"matchLabels": {"team": 1}},
        {"matchLabels": {1: "a"}},
        {"matchLabels": {"team": "a "}},
        {"matchExpressions": {}},
        {"matchExpressions": "team"},
        {"matchExpressions": ["team"]},
        {"matchExpressions": [{}]},
        {"matchExpressions": [{"operator": "DoesNotExist"}]},
        {"matchExpressions": [{"key": "stage"}]},
        {"matchExpressions": [{"key": "stage", "operator": "NotIn", "values": "x"}]},
        {"matchExpressions": [{"key": "stage", "operator": "NotIn", "values": [None]}]},
        {"matchExpressions": [{"key": "stage", "operator": "NotIn", "value": ["x"]}]},
        {"matchExpressions": [{"key": ["stage"], "operator": "DoesNotExist"}]},
        requires("stage", "notin", "x"),
        requires("stage", "NotEquals", "x"),
        requires("stage", "NotIn"),
        requires("stage", "NotIn", "not a value"),
        requires("stage", "NotIn", "x" * 64),
        requires("stage", "DoesNotExist", "x"),
        requires("", "DoesNotExist"),
        requires("a/b/c", "DoesNotExist"),
        requires("/c", "DoesNotExist"),
        requires("x" * 64, "DoesNotExist"),
        requires(f"{'x' * 254}/c", "DoesNotExist"),
        requires("stage\n", "DoesNotExist"),
    ],
    ids=lambda selector: str(selector)[:60],
)
def test_what_is_no_selector_matches_nothing(selector: Json | None) -> None:
    assert not selects(selector, LABELS)
