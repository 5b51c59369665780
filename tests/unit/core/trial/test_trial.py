"""What an injected Pod has, and how it is told what one lacks."""

import copy

import pytest

import builders
from caios_federation.core.plan import Placement
from caios_federation.core.trial import find_missing, render_trial_account, render_trial_pod

ALL = (
    'label caios.coreweave.com/federated: "true"',
    "annotation caios.coreweave.com/principal",
    "variable AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "variable AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "variable AWS_REGION",
    "variable AWS_DEFAULT_REGION",
    "the volume with the ServiceAccount's token, mounted where the variable says",
)


PLAIN = render_trial_pod("team-a", "reader")


def injected(place: Placement | None = None) -> builders.Json:
    return builders.inject(copy.deepcopy(dict(PLAIN)), place=place).pod


def test_a_pod_that_admission_injects_lacks_nothing() -> None:
    assert find_missing(injected()) == ()


def test_places_are_the_operators_settings() -> None:
    place = Placement(volume_name="token", mount_path="/run/token", token_file="t")
    assert find_missing(injected(place)) == ()


@pytest.mark.parametrize("pod", [PLAIN, {}, {"metadata": None, "spec": {"containers": ["x"]}}])
def test_a_pod_that_was_left_alone_lacks_everything(pod: builders.Json) -> None:
    assert find_missing(pod) == ALL


def test_one_part_that_is_missing_is_named_alone() -> None:
    pod = injected()
    del pod["metadata"]["labels"]["caios.coreweave.com/federated"]
    assert find_missing(pod) == ALL[:1]


@pytest.mark.parametrize("part", ["mountPath", "name"])
def test_a_volume_that_is_not_where_the_variable_says_is_missing(part: str) -> None:
    pod = injected()
    pod["spec"]["containers"][0]["volumeMounts"][0][part] = "/elsewhere"
    assert find_missing(pod) == ALL[-1:]


def test_a_volume_of_another_kind_is_no_token() -> None:
    pod = injected()
    pod["spec"]["volumes"][0] = {"name": pod["spec"]["volumes"][0]["name"], "emptyDir": {}}
    assert find_missing(pod) == ALL[-1:]


def test_the_service_account_asks_for_injection_and_has_no_name_yet() -> None:
    metadata = render_trial_account("team-a")["metadata"]
    assert metadata["annotations"] == {"caios.coreweave.com/inject": "true"}
    assert metadata["generateName"] == "caios-federation-check-"
    assert "name" not in metadata
