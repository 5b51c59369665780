"""The variables that a container gets (peers checklist 4.2)."""

from typing import Any

import pytest

from builders import (
    CONFIG,
    CREDENTIALS,
    MOUNT,
    REGIONS,
    URI,
    Json,
    bound,
    container,
    inject,
    parsed_binding,
    pod,
    sources,
)
from caios_federation.core.injection import Sources

ALL = [*CREDENTIALS, *REGIONS]
OWN = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
CONFIGURED = sources(bound=parsed_binding(client={}))
KEYS = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]


def env_of(item: Json, has_a_say: Sources | None = None) -> object:
    """Return the variables that a Pod's only container ends up with."""
    return inject(pod(item), has_a_say or bound()).container().get("env")


def outranked(names: str) -> str:
    reason = "SDKs prefer that to the injected credentials; remove it"
    return f"container 'app' sets {names}: {reason}"


def test_variables_come_in_the_documented_order() -> None:
    assert env_of(container(), CONFIGURED) == [*CREDENTIALS, *REGIONS, *CONFIG]


def test_an_absent_list_of_variables_is_created() -> None:
    assert env_of(container()) == ALL


@pytest.mark.parametrize("env", [None, []])
def test_a_null_or_empty_list_of_variables_is_filled(env: object) -> None:
    assert env_of({**container(), "env": env}) == ALL


def test_variables_are_appended_after_those_that_are_there() -> None:
    own = [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]
    assert env_of(container(env={"B": "2", "A": "1"})) == [*own, *ALL]


@pytest.mark.parametrize("region", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_a_container_with_one_region_variable_gets_none(region: str) -> None:
    own = [{"name": region, "value": "EU-01"}]
    assert env_of(container(env={region: "EU-01"})) == [*own, *CREDENTIALS]


@pytest.mark.parametrize(
    "own",
    [
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    ],
)
def test_a_container_with_half_a_credential_pair_gets_neither_half(own: str) -> None:
    injected = inject(pod(container(env={own: "mine"})))
    assert injected.container()["env"] == [{"name": own, "value": "mine"}, *REGIONS]
    assert "volumeMounts" not in injected.container()
    assert injected.warnings == (
        "container 'app' has AWS_CONTAINER_* variables of its own; its credentials are left alone",
    )


def test_a_complete_container_stays_untouched_while_its_neighbours_are_served() -> None:
    complete = container("complete", env={OWN: "mine", "AWS_REGION": "EU-01"})
    injected = inject(pod(complete, container("plain")))
    assert injected.container("complete") == complete
    assert injected.container("plain")["env"] == ALL


def test_a_pod_of_complete_containers_gets_no_volume_label_or_annotation() -> None:
    complete = container(env={OWN: "mine", "AWS_REGION": "EU-01"})
    assert inject(pod(complete)).operations == []


def test_an_existing_variable_is_never_replaced_not_even_an_empty_one() -> None:
    own = [{"name": OWN, "value": ""}, {"name": "AWS_REGION", "value": ""}]
    assert env_of(container(env={OWN: "", "AWS_REGION": ""})) == own


def test_a_variable_without_value_counts_as_set() -> None:
    assert env_of({**container(), "env": [{"name": OWN}, {"name": "AWS_REGION"}]}) == [
        {"name": OWN},
        {"name": "AWS_REGION"},
    ]


@pytest.mark.parametrize(
    "reference",
    [
        {"secretKeyRef": {"name": "s", "key": "k"}},
        {"configMapKeyRef": {"name": "s", "key": "k"}},
        {"fieldRef": {"fieldPath": "metadata.name"}},
    ],
)
def test_a_variable_from_elsewhere_counts_as_set(reference: dict[str, Any]) -> None:
    own = [{"name": name, "valueFrom": reference} for name in (OWN, "AWS_DEFAULT_REGION")]
    assert env_of({**container(), "env": own}) == own


def test_variables_from_a_whole_secret_are_not_known_and_change_nothing() -> None:
    """What `envFrom` brings cannot be seen here; a variable in `env` beats it in the container."""
    item = container(envFrom=[{"secretRef": {"name": "aws"}}])
    injected = inject(pod(item))
    assert injected.container()["env"] == ALL
    assert injected.container()["envFrom"] == [{"secretRef": {"name": "aws"}}]


def test_a_variable_named_twice_stays_so_and_counts_as_set() -> None:
    own = [{"name": OWN, "value": "1"}, {"name": OWN, "value": "2"}]
    assert env_of({**container(), "env": own}) == [*own, *REGIONS]


def test_entries_without_a_name_are_kept_and_say_nothing() -> None:
    own = [{"value": "nameless"}, {"name": None}, {"name": ""}]
    assert env_of({**container(), "env": own}) == [*own, *ALL]


def test_names_count_exactly_as_they_are_written() -> None:
    own = [{"name": "aws_region", "value": "x"}, {"name": "MY_AWS_CONTAINER_X", "value": "y"}]
    assert env_of({**container(), "env": own}) == [*own, *ALL]


@pytest.mark.parametrize("name", [*KEYS, "AWS_PROFILE"])
def test_keys_and_profiles_are_kept_and_warned_about(name: str) -> None:
    injected = inject(pod(container(env={name: "mine"})))
    assert injected.container()["env"] == [{"name": name, "value": "mine"}, *ALL]
    assert injected.warnings == (
        f"container 'app' sets {name}: SDKs prefer that to the injected credentials; remove it",
    )


def test_several_of_them_are_one_warning() -> None:
    injected = inject(pod(container(env=dict.fromkeys(KEYS, "planted-secret"))))
    assert injected.warnings == (outranked("AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"),)


def test_a_warning_never_quotes_the_value_of_a_variable() -> None:
    injected = inject(pod(container(env={**dict.fromkeys(KEYS, "planted"), OWN: "planted"})))
    assert "planted" not in "".join(injected.warnings)


@pytest.mark.parametrize("name", ["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"])
def test_web_identity_variables_are_kept_and_warned_about(name: str) -> None:
    injected = inject(pod(container(env={name: "mine"})))
    assert injected.container()["env"] == [{"name": name, "value": "mine"}, *ALL]
    assert len(injected.warnings) == 1


def test_keys_in_a_container_with_own_credentials_are_its_own_business() -> None:
    injected = inject(pod(container(env={OWN: URI, "AWS_PROFILE": "mine"})))
    assert injected.warnings == ()


def test_tokens_of_several_providers_live_side_by_side() -> None:
    other = {"name": "aws-iam-token", "mountPath": "/var/run/secrets/eks.amazonaws.com/x"}
    item = container(env={"AZURE_FEDERATED_TOKEN_FILE": "/azure"}, volumeMounts=[other])
    after = inject(pod(item)).container()
    assert after["env"] == [{"name": "AZURE_FEDERATED_TOKEN_FILE", "value": "/azure"}, *ALL]
    assert after["volumeMounts"] == [other, MOUNT]


@pytest.mark.parametrize("own", ["AWS_CONFIG_FILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_a_container_with_own_endpoint_or_config_file_gets_no_config_file(own: str) -> None:
    item = container(env={own: "mine"})
    assert env_of(item, CONFIGURED) == [{"name": own, "value": "mine"}, *ALL]


@pytest.mark.parametrize("other", ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_CONFIG"])
def test_other_variables_do_not_keep_the_config_file_away(other: str) -> None:
    item = container(env={other: "mine"})
    assert env_of(item, CONFIGURED) == [{"name": other, "value": "mine"}, *ALL, *CONFIG]


def test_a_container_with_own_credentials_may_still_get_the_config_file() -> None:
    item = container(env={OWN: "mine"})
    injected = inject(pod(item), CONFIGURED)
    assert injected.container()["env"] == [{"name": OWN, "value": "mine"}, *REGIONS, *CONFIG]
    assert injected.container()["volumeMounts"] == [MOUNT]


def test_without_client_configuration_no_config_file_is_named() -> None:
    assert env_of(container()) == ALL
