"""Which containers are served (peers checklist 4.4)."""

from typing import Any

import pytest

from builders import CREDENTIALS, MOUNT, REGIONS, bound, container, inject, pod, words
from caios_federation.core.injection import Sources

NAMES = ("setup", "sidecar", "app", "helper")


def four(**annotations: str) -> dict[str, Any]:
    """Return a Pod with an init container, a native sidecar and two containers."""
    return pod(
        container("app"),
        container("helper"),
        init=[container("setup"), container("sidecar", restartPolicy="Always")],
        annotations=words(**annotations),
    )


def served(raw: dict[str, Any], has_a_say: Sources | None = None) -> list[str]:
    """Return the names of the containers that were given anything."""
    after = inject(raw, has_a_say or bound())
    return [name for name in NAMES if "env" in after.container(name)]


def test_one_container_is_served() -> None:
    after = inject(pod()).container()
    assert after["env"] == [*CREDENTIALS, *REGIONS]
    assert after["volumeMounts"] == [MOUNT]


def test_init_containers_sidecars_and_containers_are_served_alike() -> None:
    after = inject(four())
    for name in NAMES:
        assert after.container(name)["env"] == [*CREDENTIALS, *REGIONS]
        assert after.container(name)["volumeMounts"] == [MOUNT]


def test_a_native_sidecar_keeps_its_restart_policy() -> None:
    assert inject(four()).container("sidecar")["restartPolicy"] == "Always"


def test_a_pod_of_many_containers_has_one_volume() -> None:
    assert len(inject(four()).spec["volumes"]) == 1


def test_ephemeral_containers_are_left_alone() -> None:
    raw = pod(ephemeralContainers=[container("debug")])
    assert inject(raw).spec["ephemeralContainers"] == [container("debug")]


@pytest.mark.parametrize(
    ("skip", "expected"),
    [
        ("", ["setup", "sidecar", "app", "helper"]),
        ("app", ["setup", "sidecar", "helper"]),
        ("setup", ["sidecar", "app", "helper"]),
        ("sidecar,helper", ["setup", "app"]),
        (" app ,\thelper\n", ["setup", "sidecar"]),
        (",app,,", ["setup", "sidecar", "helper"]),
        (",", ["setup", "sidecar", "app", "helper"]),
        ("app,app", ["setup", "sidecar", "helper"]),
        ("APP", ["setup", "sidecar", "app", "helper"]),
        ("setup,sidecar,app,helper", []),
    ],
)
def test_containers_that_the_pod_skips_are_left_out(skip: str, expected: list[str]) -> None:
    assert served(four(skip_containers=skip)) == expected


def test_a_skipped_container_is_unchanged_and_the_others_are_complete() -> None:
    after = inject(four(skip_containers="app"))
    assert after.container("app") == container("app")
    assert after.container("helper")["env"] == [*CREDENTIALS, *REGIONS]


def test_skipping_unknown_names_gives_one_warning_that_names_them() -> None:
    injected = inject(four(skip_containers="app,nobody,none"))
    (warning,) = injected.warnings
    assert warning == (
        "annotation caios.coreweave.com/skip-containers names no container of the Pod: "
        "'nobody', 'none'"
    )


def test_a_long_list_of_unknown_names_gives_a_short_warning() -> None:
    names = ",".join(f"container-{number}" for number in range(1000))
    (warning,) = inject(four(skip_containers=names)).warnings
    assert len(warning) <= 256


def test_skipping_known_names_gives_no_warning() -> None:
    assert inject(four(skip_containers="app, setup")).warnings == ()


def test_a_pod_whose_containers_are_all_skipped_is_not_touched_at_all() -> None:
    assert inject(pod(annotations=words(skip_containers="app"))).operations == []


@pytest.mark.parametrize("value", [None, 7, ["app"], {"app": True}])
def test_a_skip_list_that_is_no_text_skips_nothing(value: object) -> None:
    raw = pod(annotations={"caios.coreweave.com/skip-containers": value})
    assert inject(raw).container()["env"] == [*CREDENTIALS, *REGIONS]


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        ({"only": ["app"]}, ["app"]),
        ({"only": ["setup", "helper"]}, ["setup", "helper"]),
        ({"except": ["app"]}, ["setup", "sidecar", "helper"]),
        ({"except": ["setup", "sidecar", "app", "helper"]}, []),
        ({"only": ["nobody"]}, []),
        ({"except": ["nobody"]}, ["setup", "sidecar", "app", "helper"]),
        ({}, ["setup", "sidecar", "app", "helper"]),
    ],
)
def test_the_binding_may_name_who_is_served_or_who_is_not(
    containers: dict[str, list[str]], expected: list[str]
) -> None:
    assert served(four(), bound(containers=containers)) == expected


def test_names_of_the_binding_that_a_pod_has_not_give_no_warning() -> None:
    """A binding is for many Pods; a Pod's own annotation is for that Pod alone."""
    assert inject(four(), bound(containers={"except": ["nobody"]})).warnings == ()


def test_skip_list_and_binding_both_leave_out() -> None:
    has_a_say = bound(containers={"only": ["app", "helper"]})
    assert served(four(skip_containers="app"), has_a_say) == ["helper"]


def test_a_container_without_a_name_is_served_unless_only_others_are() -> None:
    nameless = {"image": "example.com/app:1"}
    assert inject(pod(nameless)).operations
    assert inject(pod(nameless), bound(containers={"only": ["app"]})).operations == []


def test_a_container_that_a_later_webhook_adds_is_served_too() -> None:
    once = inject(pod()).pod
    once["spec"]["containers"].append(container("late"))
    twice = inject(once)
    assert twice.container("late")["env"] == [*CREDENTIALS, *REGIONS]
    assert twice.container("late")["volumeMounts"] == [MOUNT]
    assert {operation["path"].rsplit("/", 1)[0] for operation in twice.operations} == {
        "/spec/containers/1"
    }


@pytest.mark.parametrize("index", [0, 1])
def test_a_container_that_a_later_webhook_puts_first_moves_no_addition(index: int) -> None:
    once = inject(four()).pod
    once["spec"]["initContainers"].insert(index, container("late"))
    twice = inject(once)
    assert twice.container("late")["env"] == [*CREDENTIALS, *REGIONS]
    assert twice.container("setup") == inject(four()).container("setup")
