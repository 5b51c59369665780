"""The volume of the token (peers checklist 4.3)."""

from typing import Any

import pytest

from builders import (
    AWS_CONFIG,
    CREDENTIALS,
    MOUNT,
    MOUNT_PATH,
    VOLUME,
    annotated,
    bound,
    container,
    inject,
    pod,
    token_volume,
    words,
)
from caios_federation.core.plan import Placement

OURS_OF_ANOTHER_AUDIENCE = token_volume(audience="other")
FOREIGN: dict[str, dict[str, Any]] = {
    "hostPath": {"hostPath": {"path": "/tmp"}},  # noqa: S108  # what a user might mount
    "emptyDir": {"emptyDir": {}},
    "secret": {"secret": {"secretName": "s"}},
    "projected-nothing": {"projected": {"sources": []}},
    "projected-null": {"projected": {"sources": None}},
    "projected-no-object": {"projected": None},
    "projected-secret": {"projected": {"sources": [{"secret": {"name": "s"}}]}},
    "other-audience": {"projected": OURS_OF_ANOTHER_AUDIENCE["projected"]},
    "other-expiration": {"projected": token_volume(seconds=7200)["projected"]},
    "token-twice": {"projected": {"sources": token_volume()["projected"]["sources"] * 2}},
    "token-and-secret": {
        "projected": {"sources": [*token_volume()["projected"]["sources"], {"secret": {}}]}
    },
    "nothing": {},
}


def test_an_absent_list_of_volumes_is_created() -> None:
    assert inject(pod()).spec["volumes"] == [token_volume()]


@pytest.mark.parametrize("volumes", [None, []])
def test_a_null_or_empty_list_of_volumes_is_filled(volumes: object) -> None:
    assert inject(pod(volumes=volumes)).spec["volumes"] == [token_volume()]


def test_existing_volumes_keep_content_and_order() -> None:
    own = [{"name": "b", "emptyDir": {}}, {"name": "a", "secret": {"secretName": "s"}}]
    assert inject(pod(volumes=own)).spec["volumes"] == [*own, token_volume()]


def test_the_projection_has_audience_expiration_and_path() -> None:
    has_a_say = annotated(audience="custom", token_expiration="900")
    assert inject(pod(), has_a_say).spec["volumes"] == [
        {
            "name": "cks-pod-identity-token",
            "projected": {
                "sources": [
                    {
                        "serviceAccountToken": {
                            "audience": "custom",
                            "expirationSeconds": 900,
                            "path": "cks-pod-identity-token",
                        }
                    }
                ]
            },
        }
    ]


def test_the_projection_sets_no_mode_so_that_a_non_root_user_can_read_the_token() -> None:
    assert "defaultMode" not in inject(pod()).spec["volumes"][0]["projected"]


@pytest.mark.parametrize("security", [{"runAsUser": 1000}, {"runAsUser": 1000, "fsGroup": 2000}])
def test_no_group_is_set_for_the_volume(security: dict[str, int]) -> None:
    assert inject(pod(securityContext=security)).spec["securityContext"] == security


def test_client_configuration_is_a_file_made_of_an_annotation() -> None:
    after = inject(pod(), bound(client={}))
    assert after.spec["volumes"] == [token_volume(config=True)]
    assert after.pod["metadata"]["annotations"]["caios.coreweave.com/aws-config"] == AWS_CONFIG


def test_a_volume_that_is_ours_already_is_used_and_the_variables_are_completed() -> None:
    after = inject(pod(volumes=[token_volume()]))
    assert after.spec["volumes"] == [token_volume()]
    assert after.container()["env"][:2] == CREDENTIALS
    assert after.container()["volumeMounts"] == [MOUNT]


@pytest.mark.parametrize("config", [False, True])
def test_defaults_that_the_api_server_filled_in_do_not_make_a_volume_foreign(config: bool) -> None:
    volume = token_volume(config=config, defaultMode=420)
    if config:
        items = volume["projected"]["sources"][1]["downwardAPI"]["items"]
        items[0]["fieldRef"]["apiVersion"] = "v1"
    after = inject(pod(volumes=[volume]), bound(client={}) if config else bound())
    assert after.spec["volumes"] == [volume]


def test_a_volume_with_the_config_file_serves_those_that_do_not_ask_for_it() -> None:
    volume = token_volume(config=True)
    assert inject(pod(volumes=[volume])).spec["volumes"] == [volume]


def test_a_volume_without_the_config_file_does_not_serve_those_that_ask_for_it() -> None:
    volume = token_volume()
    after = inject(pod(volumes=[volume]), bound(client={}))
    assert after.spec["volumes"] == [volume, token_volume(f"{VOLUME}-2", config=True)]


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_volume_of_our_name_is_kept_and_ours_takes_the_next_name(
    foreign: dict[str, Any],
) -> None:
    volume = {"name": VOLUME, **foreign}
    after = inject(pod(volumes=[volume]))
    assert after.spec["volumes"] == [volume, token_volume(f"{VOLUME}-2")]
    assert after.container()["volumeMounts"] == [{**MOUNT, "name": f"{VOLUME}-2"}]
    assert after.container()["env"][:2] == CREDENTIALS


def test_a_volume_of_ours_with_another_audience_is_kept_beside_the_new_one() -> None:
    after = inject(pod(volumes=[OURS_OF_ANOTHER_AUDIENCE]))
    assert after.spec["volumes"] == [OURS_OF_ANOTHER_AUDIENCE, token_volume(f"{VOLUME}-2")]


def test_names_that_are_taken_are_passed_over() -> None:
    taken = [{"name": name, "emptyDir": {}} for name in (f"{VOLUME}-2", VOLUME, f"{VOLUME}-4")]
    after = inject(pod(volumes=taken))
    assert after.spec["volumes"] == [*taken, token_volume(f"{VOLUME}-3")]


def test_a_foreign_volume_of_the_next_name_only_is_no_matter() -> None:
    taken = {"name": f"{VOLUME}-2", "emptyDir": {}}
    assert inject(pod(volumes=[taken])).spec["volumes"] == [taken, token_volume()]


def test_a_foreign_volume_of_our_name_mounted_elsewhere_is_no_conflict() -> None:
    foreign = {"name": VOLUME, "emptyDir": {}}
    after = inject(pod(container(mounts={VOLUME: "/data"}), volumes=[foreign]))
    assert after.container()["volumeMounts"] == [
        {"name": VOLUME, "mountPath": "/data"},
        {**MOUNT, "name": f"{VOLUME}-2"},
    ]


def test_a_volume_that_no_container_mounts_is_not_added() -> None:
    item = container(env={"AWS_CONTAINER_CREDENTIALS_FULL_URI": "mine"})
    assert "volumes" not in inject(pod(item)).spec


def test_a_volume_that_is_mounted_but_missing_is_added() -> None:
    after = inject(pod(container(mounts={VOLUME: MOUNT_PATH})))
    assert after.spec["volumes"] == [token_volume()]
    assert after.container()["volumeMounts"] == [{"name": VOLUME, "mountPath": MOUNT_PATH}]
    assert after.container()["env"][:2] == CREDENTIALS


def test_names_and_places_can_be_set() -> None:
    after = inject(pod(), place=Placement("vol", "/custom/path", "tok"))
    assert after.spec["volumes"][0]["name"] == "vol"
    assert after.container()["volumeMounts"] == [
        {"name": "vol", "mountPath": "/custom/path", "readOnly": True}
    ]
    assert after.container()["env"][1]["value"] == "/custom/path/tok"


def test_an_annotation_of_the_user_in_our_place_is_kept_with_a_warning() -> None:
    after = inject(pod(annotations=words(aws_config="[default]\n")), bound(client={}))
    assert after.pod["metadata"]["annotations"]["caios.coreweave.com/aws-config"] == "[default]\n"
    assert after.warnings == (
        "annotation caios.coreweave.com/aws-config of the Pod is kept as it is",
    )


def test_volumes_without_a_name_are_kept_and_say_nothing() -> None:
    own = [{"emptyDir": {}}, {"name": None}]
    assert inject(pod(volumes=own)).spec["volumes"] == [*own, token_volume()]


def test_the_tokens_place_is_the_vendors() -> None:
    assert Placement().mount_path == MOUNT_PATH
    assert Placement().volume_name == VOLUME
    assert Placement().token_file == "cks-pod-identity-token"
