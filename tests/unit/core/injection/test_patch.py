"""The form of the patch (peers checklist 4.8)."""

import pytest

from builders import (
    AWS_CONFIG,
    CREDENTIALS,
    MOUNT,
    PRINCIPAL,
    REGIONS,
    bound,
    container,
    inject,
    pod,
    token_volume,
)

LABEL = "/metadata/labels/caios.coreweave.com~1federated"
ANNOTATION = "/metadata/annotations/caios.coreweave.com~1principal"
MARKS = {"caios.coreweave.com/federated": "true"}, {"caios.coreweave.com/principal": PRINCIPAL}


def test_a_bare_pod_gets_every_list_and_map_whole() -> None:
    labels, annotations = MARKS
    assert inject(pod()).operations == [
        {"op": "add", "path": "/metadata/labels", "value": labels},
        {"op": "add", "path": "/metadata/annotations", "value": annotations},
        {"op": "add", "path": "/spec/volumes", "value": [token_volume()]},
        {"op": "add", "path": "/spec/containers/0/env", "value": [*CREDENTIALS, *REGIONS]},
        {"op": "add", "path": "/spec/containers/0/volumeMounts", "value": [MOUNT]},
    ]


def test_a_pod_that_has_everything_gets_one_operation_per_element() -> None:
    raw = pod(
        container(env={"A": "1"}, mounts={"a": "/a"}),
        labels={"a": "b"},
        annotations={"a": "b"},
        volumes=[{"name": "a", "emptyDir": {}}],
    )
    env, mounts = "/spec/containers/0/env/-", "/spec/containers/0/volumeMounts/-"
    assert inject(raw).operations == [
        {"op": "add", "path": LABEL, "value": "true"},
        {"op": "add", "path": ANNOTATION, "value": PRINCIPAL},
        {"op": "add", "path": "/spec/volumes/-", "value": token_volume()},
        *({"op": "add", "path": env, "value": item} for item in [*CREDENTIALS, *REGIONS]),
        {"op": "add", "path": mounts, "value": MOUNT},
    ]


def test_keys_are_escaped_as_json_pointers() -> None:
    injected = inject(pod(labels={"a/b~c": "1"}))
    assert injected.operations[0]["path"] == LABEL
    assert injected.pod["metadata"]["labels"] == {"a/b~c": "1", **MARKS[0]}


@pytest.mark.parametrize("empty", [None, {}])
def test_null_or_empty_labels_and_annotations_become_maps(empty: object) -> None:
    raw = pod()
    raw["metadata"] |= {"labels": empty, "annotations": empty}
    labels, annotations = MARKS
    after = inject(raw).pod["metadata"]
    assert (after["labels"], after["annotations"]) == (labels, annotations)


@pytest.mark.parametrize("missing", ["absent", "null"])
def test_absent_metadata_is_created(missing: str) -> None:
    raw = pod()
    del raw["metadata"]
    if missing == "null":
        raw["metadata"] = None
    labels, annotations = MARKS
    assert inject(raw).pod["metadata"] == {"labels": labels, "annotations": annotations}


def test_absent_metadata_is_created_for_an_annotation_alone() -> None:
    """A container with own credentials gets the config file, but no identity and no label."""
    raw = pod(container(env={"AWS_CONTAINER_CREDENTIALS_FULL_URI": "mine"}))
    del raw["metadata"]
    after = inject(raw, bound(client={})).pod["metadata"]
    assert after == {"annotations": {"caios.coreweave.com/aws-config": AWS_CONFIG}}


def test_a_label_of_the_user_in_our_place_is_kept_with_a_warning() -> None:
    injected = inject(pod(labels={"caios.coreweave.com/federated": "no"}))
    assert injected.pod["metadata"]["labels"] == {"caios.coreweave.com/federated": "no"}
    assert injected.warnings == ("label caios.coreweave.com/federated of the Pod is kept as it is",)


def test_our_own_label_is_neither_added_twice_nor_warned_about() -> None:
    injected = inject(pod(labels={"caios.coreweave.com/federated": "true"}))
    assert LABEL not in {operation["path"] for operation in injected.operations}
    assert injected.warnings == ()


def test_a_pod_that_needs_nothing_gets_no_patch() -> None:
    env = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "mine", "AWS_REGION": "x"}
    assert inject(pod(container(env=env))).operations == []


def test_a_pod_that_only_gets_a_region_is_not_marked_as_federated() -> None:
    env = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "mine"}
    assert inject(pod(container(env=env))).operations == [
        {"op": "add", "path": "/spec/containers/0/env/-", "value": item} for item in REGIONS
    ]


def test_containers_are_addressed_by_their_place_in_their_own_list() -> None:
    raw = pod(container("a"), container("b"), init=[container("c"), container("d")])
    paths = [operation["path"] for operation in inject(raw).operations]
    assert [path for path in paths if path.endswith("env")] == [
        "/spec/initContainers/0/env",
        "/spec/initContainers/1/env",
        "/spec/containers/0/env",
        "/spec/containers/1/env",
    ]


@pytest.mark.parametrize("garbage", [None, "text", 5, ["list"]])
def test_entries_that_are_no_containers_do_not_shift_the_others(garbage: object) -> None:
    raw = pod(container())
    raw["spec"]["containers"].insert(0, garbage)
    paths = {operation["path"] for operation in inject(raw).operations}
    assert "/spec/containers/1/env" in paths
    assert "/spec/containers/0/env" not in paths
