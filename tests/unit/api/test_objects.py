"""Reading what all objects have in common."""

import pytest

from caios_federation.api.objects import Meta, parse_meta, version_of

NOTHING = Meta(namespace="", name="", uid="", generation=0, created="", deleting=False, version=0)
NONSENSE: list[object] = [None, True, 5, 1.5, "text", [], ["a"], {}]


def test_metadata_is_read() -> None:
    raw = {
        "namespace": "n",
        "name": "a",
        "uid": "u",
        "generation": 3,
        "creationTimestamp": "2026-11-24T10:00:00Z",
        "deletionTimestamp": "2026-11-24T11:00:00Z",
        "resourceVersion": "17",
    }
    assert parse_meta({"metadata": raw}) == Meta(
        namespace="n",
        name="a",
        uid="u",
        generation=3,
        created="2026-11-24T10:00:00Z",
        deleting=True,
        version=17,
    )


@pytest.mark.parametrize("metadata", NONSENSE)
def test_metadata_that_is_none_is_empty(metadata: object) -> None:
    assert parse_meta({"metadata": metadata}) == NOTHING


@pytest.mark.parametrize("key", ["namespace", "name", "uid", "creationTimestamp"])
@pytest.mark.parametrize("value", [None, 5, ["a"], {"a": "b"}])
def test_a_text_that_is_none_is_empty(key: str, value: object) -> None:
    assert parse_meta({"metadata": {key: value}}) == NOTHING


@pytest.mark.parametrize("value", [None, "3", ["a"], 1.5])
def test_a_generation_that_is_no_number_is_zero(value: object) -> None:
    assert parse_meta({"metadata": {"generation": value}}).generation == 0


@pytest.mark.parametrize(
    ("version", "expected"),
    [("17", 17), ("", 0), (None, 0), ("v1", 0), ("-1", 0), ("²", 0), ("9" * 5000, 0)],
)
def test_a_resource_version_is_a_number_or_nothing(version: object, expected: int) -> None:
    assert version_of({"metadata": {"resourceVersion": version}}) == expected


@pytest.mark.parametrize(("namespace", "expected"), [("n", "n/a"), ("", "a"), (None, "a")])
def test_a_key_is_made_of_namespace_and_name(namespace: str | None, expected: str) -> None:
    assert parse_meta({"metadata": {"namespace": namespace, "name": "a"}}).key == expected
