"""Where the token is mounted, and what is done when the place is taken (peers checklist 4.3)."""

import pytest

from builders import (
    CONFIG,
    CREDENTIALS,
    MOUNT,
    MOUNT_PATH,
    REGIONS,
    VOLUME,
    bound,
    container,
    inject,
    pod,
    token_volume,
)
from caios_federation.core.plan import Placement

TAKEN = {
    "same": MOUNT_PATH,
    "same-with-slash": f"{MOUNT_PATH}/",
    "same-with-dots": "/var/run/./secrets/x/../cks.coreweave.com/serviceaccount",
    "same-with-double-slashes": "//var//run/secrets/cks.coreweave.com/serviceaccount",
    "same-but-relative": MOUNT_PATH.lstrip("/"),
    "same-from-above-the-root": f"/..{MOUNT_PATH}",
    "child": f"{MOUNT_PATH}/cks-pod-identity-token",
    "grandchild": f"{MOUNT_PATH}/a/b",
}
ABOVE = {
    "parent": "/var/run/secrets/cks.coreweave.com",
    "parent-with-slash": "/var/run/secrets/cks.coreweave.com/",
    "grandparent": "/var/run",
    "root": "/",
}
FREE = {
    "the-clusters-own-token": "/var/run/secrets/kubernetes.io/serviceaccount",
    "sibling": "/var/run/secrets/cks.coreweave.com/serviceaccount-2",
    "longer-name": f"{MOUNT_PATH}s",
    "shorter-name": MOUNT_PATH[:-1],
    "leaves-by-dots": f"{MOUNT_PATH}/../other",
    "elsewhere": "/data",
}


def test_the_mount_is_read_only_at_the_vendors_place() -> None:
    assert inject(pod()).container()["volumeMounts"] == [
        {
            "name": "cks-pod-identity-token",
            "mountPath": "/var/run/secrets/cks.coreweave.com/serviceaccount",
            "readOnly": True,
        }
    ]


@pytest.mark.parametrize("mounts", [None, []])
def test_a_null_or_empty_list_of_mounts_is_filled(mounts: list[str] | None) -> None:
    assert inject(pod(container(volumeMounts=mounts))).container()["volumeMounts"] == [MOUNT]


def test_existing_mounts_keep_content_and_order() -> None:
    own = [{"name": "b", "mountPath": "/b", "subPath": "x"}, {"name": "a", "mountPath": "/a"}]
    after = inject(pod(container(volumeMounts=own)))
    assert after.container()["volumeMounts"] == [*own, MOUNT]


@pytest.mark.parametrize("path", TAKEN.values(), ids=TAKEN)
def test_a_container_whose_place_is_taken_is_left_out_with_a_warning(path: str) -> None:
    item = container(mounts={"own": path})
    injected = inject(pod(item))
    assert injected.operations == []
    (warning,) = injected.warnings
    assert warning.startswith("container 'app' left out: its volume 'own' is mounted at ")
    assert MOUNT_PATH in warning


@pytest.mark.parametrize("path", ABOVE.values(), ids=ABOVE)
def test_a_read_only_mount_above_our_place_leaves_the_container_out(path: str) -> None:
    mount = {"name": "own", "mountPath": path, "readOnly": True}
    injected = inject(pod(container(volumeMounts=[mount])))
    assert injected.operations == []
    assert len(injected.warnings) == 1


@pytest.mark.parametrize("kind", ["configMap", "secret", "projected", "downwardAPI", "image"])
def test_a_volume_that_cannot_be_written_to_above_our_place_is_read_only_too(kind: str) -> None:
    injected = inject(
        pod(container(mounts={"own": "/var/run"}), volumes=[{"name": "own", kind: {}}])
    )
    assert injected.operations == []
    assert len(injected.warnings) == 1


@pytest.mark.parametrize("path", ABOVE.values(), ids=ABOVE)
def test_a_writable_mount_above_our_place_is_no_conflict(path: str) -> None:
    """As with the cluster's own token: the runtime makes the inner mount's directory there."""
    volumes = [{"name": "own", "emptyDir": {}}]
    injected = inject(pod(container(mounts={"own": path}), volumes=volumes))
    assert injected.container()["volumeMounts"][-1] == MOUNT
    assert injected.warnings == ()


@pytest.mark.parametrize("path", [MOUNT_PATH, f"{MOUNT_PATH}/x", "/var/run"])
def test_a_block_device_at_our_place_is_a_conflict(path: str) -> None:
    item = container(volumeDevices=[{"name": "own", "devicePath": path}])
    injected = inject(pod(item))
    assert injected.operations == []
    assert "'own:device'" in injected.warnings[0]


@pytest.mark.parametrize("path", FREE.values(), ids=FREE)
def test_a_mount_beside_our_place_is_no_conflict(path: str) -> None:
    injected = inject(pod(container(mounts={"own": path})))
    assert injected.container()["volumeMounts"][-1] == MOUNT
    assert injected.warnings == ()


def test_a_container_that_is_left_out_does_not_keep_its_neighbours_from_theirs() -> None:
    taken = container("taken", mounts={"own": MOUNT_PATH})
    injected = inject(pod(taken, container("free")))
    assert injected.container("taken") == taken
    assert injected.container("free")["env"] == [*CREDENTIALS, *REGIONS]


def test_one_left_out_container_asks_for_its_config_in_vain() -> None:
    taken = container("taken", mounts={"own": MOUNT_PATH})
    injected = inject(pod(taken, container("free")), bound(client={}))
    assert injected.container("taken") == taken
    assert injected.container("free")["env"] == [*CREDENTIALS, *REGIONS, *CONFIG]


@pytest.mark.parametrize("key", ["subPath", "subPathExpr"])
def test_a_part_of_our_volume_at_our_place_is_a_conflict(key: str) -> None:
    mount = {"name": VOLUME, "mountPath": MOUNT_PATH, key: "part"}
    injected = inject(pod(container(volumeMounts=[mount]), volumes=[token_volume()]))
    assert injected.operations == []
    assert len(injected.warnings) == 1


def test_an_empty_sub_path_is_the_whole_volume() -> None:
    mount = {"name": VOLUME, "mountPath": MOUNT_PATH, "subPath": ""}
    injected = inject(pod(container(volumeMounts=[mount]), volumes=[token_volume()]))
    assert injected.container()["volumeMounts"] == [mount]
    assert injected.container()["env"] == [*CREDENTIALS, *REGIONS]


@pytest.mark.parametrize("path", [MOUNT_PATH, f"{MOUNT_PATH}/", MOUNT_PATH.lstrip("/")])
def test_our_volume_at_our_place_is_not_mounted_twice(path: str) -> None:
    injected = inject(pod(container(mounts={VOLUME: path}), volumes=[token_volume()]))
    assert injected.container()["volumeMounts"] == [{"name": VOLUME, "mountPath": path}]
    assert injected.container()["env"] == [*CREDENTIALS, *REGIONS]


def test_our_volume_mounted_elsewhere_too_is_mounted_at_our_place() -> None:
    injected = inject(pod(container(mounts={VOLUME: "/data"}), volumes=[token_volume()]))
    assert injected.container()["volumeMounts"] == [{"name": VOLUME, "mountPath": "/data"}, MOUNT]


def test_a_foreign_volume_of_our_name_at_our_place_is_a_conflict() -> None:
    foreign = {"name": VOLUME, "emptyDir": {}}
    injected = inject(pod(container(mounts={VOLUME: MOUNT_PATH}), volumes=[foreign]))
    assert injected.operations == []
    assert len(injected.warnings) == 1


def test_the_conflict_of_a_container_that_needs_no_mount_is_no_matter() -> None:
    env = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "mine"}
    injected = inject(pod(container(env=env, mounts={"own": MOUNT_PATH})))
    assert injected.container()["env"][1:] == REGIONS


def test_mounts_without_a_path_are_kept_and_say_nothing() -> None:
    own = [{"name": "a"}, {"name": "b", "mountPath": None}]
    injected = inject(pod(container(volumeMounts=own)))
    assert injected.container()["volumeMounts"] == [*own, MOUNT]


def test_a_windows_path_is_no_conflict() -> None:
    injected = inject(pod(container(mounts={"own": "C:\\data"})))
    assert injected.container()["volumeMounts"][-1] == MOUNT


@pytest.mark.parametrize("path", ["/custom/", "/custom//path/", "custom/path"])
def test_a_place_that_is_set_with_loose_slashes_is_compared_all_the_same(path: str) -> None:
    place = Placement(mount_path=path)
    once = inject(pod(), place=place)
    assert inject(once.pod, place=place).operations == []
