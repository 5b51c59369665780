"""A second pass (peers checklist 4.8): API servers call webhooks again after later ones."""

from collections.abc import Callable
from typing import Any

import pytest

from builders import (
    CREDENTIALS,
    MOUNT,
    REGIONS,
    VOLUME,
    Json,
    annotated,
    bound,
    container,
    inject,
    parsed_binding,
    parsed_federation,
    pod,
    sources,
    token_volume,
    words,
)
from caios_federation.core.injection import Sources

CASES: dict[str, tuple[Json, Sources]] = {
    "plain": (pod(), annotated(inject="true")),
    "config": (pod(), bound(client={})),
    "foreign-volume": (pod(volumes=[{"name": VOLUME, "emptyDir": {}}]), bound()),
    "foreign-volume-config": (pod(volumes=[token_volume()]), bound(client={})),
    "place-taken": (pod(container(mounts={"a": MOUNT["mountPath"]}), container("b")), bound()),
    "own-credentials": (pod(container(env={"AWS_CONTAINER_X": ""})), bound(client={})),
    "own-endpoint": (pod(container(env={"AWS_ENDPOINT_URL": ""}), container("b")), bound()),
    "own-endpoint-all": (pod(container(env={"AWS_ENDPOINT_URL": ""})), bound(client={})),
    "skipped": (pod(annotations=words(skip_containers="app")), bound()),
    "expiration": (pod(annotations=words(token_expiration="1")), bound()),
    "nulls": (pod({"name": "app", "env": None, "volumeMounts": None}, volumes=None), bound()),
}


@pytest.mark.parametrize(("raw", "has_a_say"), CASES.values(), ids=CASES)
def test_a_second_pass_adds_nothing(raw: Json, has_a_say: Sources) -> None:
    assert inject(inject(raw, has_a_say).pod, has_a_say).operations == []


def test_a_second_pass_after_the_api_server_filled_in_defaults_adds_nothing() -> None:
    once = inject(pod(), bound(client={})).pod
    projected = once["spec"]["volumes"][0]["projected"]
    projected["defaultMode"] = 420
    projected["sources"][1]["downwardAPI"]["items"][0]["fieldRef"]["apiVersion"] = "v1"
    once["spec"]["containers"][0]["terminationMessagePath"] = "/dev/termination-log"
    assert inject(once, bound(client={})).operations == []


@pytest.mark.parametrize(
    "now",
    [
        bound(audience="changed"),
        bound(region="EU-01"),
        bound(tokenExpirationSeconds=900),
        bound(containers={"except": ["app"]}),
        sources(bound=parsed_binding(), federated=parsed_federation(organizationID="other")),
        sources(bound=parsed_binding(), federated=parsed_federation(issuerURL="https://x.example")),
    ],
    ids=["audience", "region", "expiration", "containers", "organization", "issuer"],
)
def test_a_binding_that_changed_between_two_passes_changes_nothing(now: Sources) -> None:
    assert inject(inject(pod(), bound()).pod, now).operations == []


def test_client_configuration_that_came_between_two_passes_leaves_the_container_out() -> None:
    """The place is taken by the volume of the first pass, which has no config file."""
    once = inject(pod(), bound()).pod
    twice = inject(once, bound(client={}))
    assert twice.operations == []
    assert len(twice.warnings) == 1


def test_a_late_container_after_a_change_gets_the_new_values_and_its_own_volume() -> None:
    once = inject(pod(), bound()).pod
    once["spec"]["containers"].append(container("late"))
    twice = inject(once, bound(audience="changed"))
    assert twice.spec["volumes"] == [
        token_volume(),
        token_volume(f"{VOLUME}-2", audience="changed"),
    ]
    assert twice.container("late")["volumeMounts"] == [{**MOUNT, "name": f"{VOLUME}-2"}]
    assert twice.container()["volumeMounts"] == [MOUNT]
    assert inject(twice.pod, bound(audience="changed")).operations == []


def test_a_late_container_that_wants_the_config_file_gets_it() -> None:
    once = inject(pod(container(env={"AWS_ENDPOINT_URL": "x"})), bound(client={})).pod
    once["spec"]["containers"].append(container("late"))
    twice = inject(once, bound(client={}))
    assert twice.spec["volumes"] == [token_volume(), token_volume(f"{VOLUME}-2", config=True)]
    assert inject(twice.pod, bound(client={})).operations == []


def test_an_injected_pod_is_given_no_warning_about_what_was_injected() -> None:
    once = inject(pod(), bound(client={})).pod
    assert inject(once, bound(client={})).warnings == ()


def _without_env(raw: Json) -> None:
    del raw["spec"]["containers"][0]["env"]


def _without_mount(raw: Json) -> None:
    del raw["spec"]["containers"][0]["volumeMounts"]


def _without_labels(raw: Json) -> None:
    raw["metadata"]["labels"] = None


@pytest.mark.parametrize("damage", [_without_env])
def test_variables_that_a_later_webhook_dropped_are_added_again(
    damage: Callable[[Json], None],
) -> None:
    once = inject(pod()).pod
    damage(once)
    twice = inject(once)
    assert twice.container()["env"] == [*CREDENTIALS, *REGIONS]
    assert twice.container()["volumeMounts"] == [MOUNT]
    assert len(twice.spec["volumes"]) == 1


def test_a_label_that_a_later_webhook_dropped_is_not_worth_a_patch() -> None:
    once = inject(pod()).pod
    _without_labels(once)
    assert inject(once).operations == []


def test_a_mount_that_a_later_webhook_dropped_is_taken_for_its_wish() -> None:
    """The container has credentials of its own by then; nothing of it is changed."""
    once = inject(pod()).pod
    _without_mount(once)
    assert inject(once).operations == []


def test_every_pass_of_many_webhooks_settles() -> None:
    raw: Any = pod()
    for name in ("b", "c", "d"):
        raw = inject(raw, bound(client={})).pod
        raw["spec"]["containers"].append(container(name))
    settled = inject(raw, bound(client={})).pod
    assert inject(settled, bound(client={})).operations == []
    assert len(settled["spec"]["volumes"]) == 1
