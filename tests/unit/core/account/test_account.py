"""What the annotations of a ServiceAccount say."""

import pytest

from builders import words
from caios_federation.core.account import (
    NO_ANNOTATIONS,
    Wish,
    audience_of,
    audience_problem,
    federation_problem,
    relevant,
    wish_of,
)

OURS = words(inject="true", audience="a", token_expiration="900", federation="f")


def test_only_our_own_inputs_are_kept() -> None:
    foreign = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "other/inject": "true"}
    assert relevant({**OURS, **foreign}) == OURS


def test_words_of_pods_are_no_inputs_of_service_accounts() -> None:
    assert relevant(words(skip_containers="app", principal="role/x", federated="true")) == {}


@pytest.mark.parametrize("annotations", [None, {}, {"other": "x"}])
def test_a_service_account_that_says_nothing_costs_no_memory(
    annotations: dict[str, str] | None,
) -> None:
    assert relevant(annotations) is NO_ANNOTATIONS


@pytest.mark.parametrize("value", [None, 5, True, ["true"], {"a": "b"}])
def test_an_input_that_is_no_text_is_absent(value: object) -> None:
    raw = {"caios.coreweave.com/inject": value, "caios.coreweave.com/audience": value}
    assert relevant(raw) == {}


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({}, Wish.NOTHING),
        (words(inject=""), Wish.NOTHING),
        (words(inject="true"), Wish.INJECTION),
        (words(inject="false"), Wish.NO_INJECTION),
        (words(inject="no"), Wish.UNINTELLIGIBLE),
        (words(audience="a"), Wish.INJECTION),
        (words(audience=" "), Wish.NOTHING),
        (words(inject="false", audience="a"), Wish.NO_INJECTION),
        (words(inject="no", audience="a"), Wish.UNINTELLIGIBLE),
        (words(token_expiration="900"), Wish.NOTHING),
    ],
)
def test_a_wish_is_read_of_inject_and_audience(annotations: dict[str, str], expected: Wish) -> None:
    assert wish_of(annotations) is expected


def test_an_audience_is_kept_as_it_is_written() -> None:
    assert audience_of(words(audience="  https://a.example/ ")) == "  https://a.example/ "


def test_an_audience_is_as_long_as_a_status_can_hold() -> None:
    longest, longer = words(audience="ü" * 1024), words(audience="ü" * 1025)
    assert audience_of(longest) == "ü" * 1024
    assert audience_problem(longest) is None
    assert audience_of(longer) is None
    assert audience_problem(longer) == (
        "annotation caios.coreweave.com/audience of the ServiceAccount is longer than 1024 "
        "characters; ignored"
    )


@pytest.mark.parametrize(
    "text", ["", "default", "a", "0", "team-a.research", "a--b", "x" * 253, "a.b.c"]
)
def test_a_federation_annotation_may_be_any_name_of_an_object(text: str) -> None:
    assert federation_problem(words(federation=text)) is None


@pytest.mark.parametrize(
    "text",
    ["My Fed", " default", "default\n", "Default", "-a", "a-", "a..b", ".", "a.-b", "ä", "x" * 254],
)
def test_a_federation_annotation_that_is_no_name_is_told_with_its_value(text: str) -> None:
    problem = federation_problem(words(federation=text))
    assert problem is not None
    assert problem.startswith(f"annotation caios.coreweave.com/federation is {text[:39]!r}"[:80])
    assert problem.endswith(", not the name of a StorageFederation")
    assert len(problem) <= 130
