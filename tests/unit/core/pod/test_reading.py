"""Reading a Pod of any shape: nulls and nonsense are empty (peers checklist 4.7)."""

import pytest

from builders import MOUNT_PATH, container, pod
from caios_federation.core.pod import normalise, read_pod

NONSENSE: list[object] = [None, True, 0, 1.5, "text", [], ["text"], [[]], [None], {}, {"a": []}]


@pytest.mark.parametrize("raw", NONSENSE)
def test_what_is_no_pod_is_an_empty_one(raw: object) -> None:
    seen = read_pod(raw)
    assert seen.containers == ()
    assert seen.volumes == {}
    assert seen.service_account == "default"


@pytest.mark.parametrize("key", ["metadata", "spec"])
@pytest.mark.parametrize("value", NONSENSE)
def test_metadata_and_spec_may_be_anything(key: str, value: object) -> None:
    read_pod(pod() | {key: value})


@pytest.mark.parametrize("key", ["labels", "annotations"])
@pytest.mark.parametrize("value", [None, 1, "text", ["list"]])
def test_labels_and_annotations_that_are_no_maps_are_empty(key: str, value: object) -> None:
    raw = pod()
    raw["metadata"][key] = value
    assert getattr(read_pod(raw), key) == {}


@pytest.mark.parametrize("key", ["volumes", "containers", "initContainers", "serviceAccountName"])
@pytest.mark.parametrize("value", NONSENSE)
def test_parts_of_the_spec_may_be_anything(key: str, value: object) -> None:
    raw = pod()
    raw["spec"][key] = value
    read_pod(raw)


@pytest.mark.parametrize("key", ["name", "env", "volumeMounts"])
@pytest.mark.parametrize("value", NONSENSE)
def test_parts_of_a_container_may_be_anything(key: str, value: object) -> None:
    read_pod(pod(container() | {key: value}))


def test_a_pointer_leads_to_the_container() -> None:
    raw = pod(container("a"), init=[container("b")])
    seen = [(item.path, item.name) for item in read_pod(raw).containers]
    assert seen == [("/spec/initContainers/0", "b"), ("/spec/containers/0", "a")]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", "/"),
        ("/", "/"),
        ("//", "/"),
        (".", "/"),
        ("..", "/"),
        ("/../..", "/"),
        ("a", "/a"),
        ("/a/", "/a"),
        ("//a//b", "/a/b"),
        ("/a/./b/../c", "/a/c"),
        ("../a", "/a"),
        (MOUNT_PATH, MOUNT_PATH),
    ],
)
def test_a_path_is_normalised_to_an_absolute_one(path: str, expected: str) -> None:
    assert normalise(path) == expected
