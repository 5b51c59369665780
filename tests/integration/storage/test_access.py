"""What a Pod can do in S3 is what docs/reference/access-levels.md says of its binding, end to end.

Nothing is left out between a binding that somebody applies and a call of boto3: the schema, the
operator, its policy at CoreWeave, the injected Pod, a token of the API server, and the exchange as
an SDK does it. That the page holds for all that a grant can say is tested without a cluster.
"""

import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from mypy_boto3_s3.client import S3Client

from caios_federation.api.binding import Access
from component.coreweave.world import Keys, World
from component.matrix import page
from component.matrix.page import PREFIX, WHOLE, documented, grant, only
from component.matrix.places import Places, always_virtual
from integration.product.conftest import injected, wait_for
from integration.storage.conftest import OPEN_RULE, READY, Storage, granted
from integration.storage.remote import Json

EXTENTS = page.extents()
CUSTOM = ["s3:GetObject", "s3:ListBucket"]
RULES = [{**OPEN_RULE, "actions": CUSTOM}]
FEDERATION = "access-levels"


@dataclass(frozen=True)
class Variant:
    """A grant, and the operations that the page allows inside of it."""

    name: str
    """Of the ServiceAccount and its binding."""
    grant: Json
    extent: str
    inside: Mapping[str, bool]

    def __str__(self) -> str:
        return self.name


def of_level(level: Access, extent: str) -> Variant:
    """Return a grant of a level that leaves `listing` to its default."""
    narrowed = extent == PREFIX
    lists = page.defaults()[level, narrowed] == "WholeBucket"
    inside = page.inside(level, prefixes=narrowed, lists=lists)
    return Variant(_name(level, narrowed), grant(level.value, extent), extent, inside)


def of_actions(actions: list[str]) -> Iterator[Variant]:
    """Yield the page's examples of a grant of these actions."""
    for example in page.examples():
        if sorted(example.actions) == actions:
            extent = PREFIX if example.prefixes else WHOLE
            given = grant("Custom", extent, actions=actions)
            name = _name(Access.CUSTOM, example.prefixes)
            yield Variant(name, given, extent, only(*example.operations))


def _name(level: Access, narrowed: bool) -> str:
    return f"{level.lower()}-{'prefixes' if narrowed else 'whole'}"


LEVELS = [level for level in Access if level is not Access.CUSTOM]
VARIANTS = [
    *(of_level(level, extent) for level in LEVELS for extent in (WHOLE, PREFIX)),
    *of_actions(CUSTOM),
]


@dataclass(frozen=True)
class Team:
    """A namespace with a Ready binding of each variant, and buckets for each."""

    storage: Storage
    world: World
    admin: S3Client
    namespace: str

    def places(self, variant: Variant) -> Places:
        return Places(self.admin, f"{self.namespace}-{variant}-")

    def apply(self) -> None:
        """Make the buckets, apply the bindings, and wait until all are Ready."""
        objects: list[Json] = []
        for variant in VARIANTS:
            places = self.places(variant)
            places.make()
            asked = places.granted(variant.grant)
            objects += granted(self.namespace, asked, name=variant.name, federationName=FEDERATION)
        self.storage.world.apply(*objects)
        for variant in VARIANTS:
            wait_for(partial(self.storage.ready, self.namespace, variant.name), READY)

    def client(self, variant: Variant, home: Path) -> S3Client:
        """Return boto3's client, as it would be in a Pod of the variant's ServiceAccount."""
        pod = self._pod(variant)
        env = {each["name"]: each["value"] for each in pod["spec"]["containers"][0]["env"]}
        file = home / "token"
        file.write_text(self._token(variant, pod))
        keys = _from_environment({**env, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(file)}, home)
        return always_virtual(self.world.s3(keys, region=env["AWS_REGION"]))

    def _pod(self, variant: Variant) -> Json:
        """Return a Pod of the ServiceAccount, with what the operator puts in."""

        def pod() -> Json:
            return self.storage.world.dry_run_pod(self.namespace, variant.name)

        # The API server learns of a webhook configuration by a watch of its own.
        wait_for(lambda: injected(pod()), expected=True)
        return pod()

    def _token(self, variant: Variant, pod: Json) -> str:
        """Return what the kubelet would put into the file of the Pod's token."""
        sources = [s for v in pod["spec"]["volumes"] for s in v.get("projected", {})["sources"]]
        asked = next(
            source["serviceAccountToken"]
            for source in sources
            if source.get("serviceAccountToken", {}).get("audience")
        )
        return self.storage.world.kubectl.run(
            *("create", "token", variant.name, f"--namespace={self.namespace}"),
            f"--audience={asked['audience']}",
            f"--duration={asked['expirationSeconds']}s",
        ).strip()


def _from_environment(variables: Mapping[str, str], home: Path) -> Keys:
    """Return the keys that an SDK finds by itself with these variables, and no files."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("HOME", str(home))
        for name, text in variables.items():
            patch.setenv(name, text)
        found: Any = boto3.Session().get_credentials()
        assert found.method == "container-role"
        keys = found.get_frozen_credentials()
    return Keys(keys.access_key, keys.secret_key, keys.token)


@pytest.fixture(scope="module")
def team(storage: Storage) -> Iterator[Team]:
    """Yield a namespace in which all variants are Ready."""
    kubectl, remote, world = storage.world.kubectl, storage.remote, World(storage.remote.emulator)
    namespace, policy = f"access-{uuid.uuid4().hex[:8]}", "administrator-of-s3"
    # IAM lets an administrator do everything but S3.
    uid = remote.call("GET", "/v1beta1/auth/whoami")["principal"]["uid"]
    statement = {
        "name": "all",
        "effect": "Allow",
        "actions": ["s3:*"],
        "resources": ["*"],
        "principals": [f"coreweave/{uid}"],
    }
    remote.put_policy({"version": "v1alpha1", "name": policy, "statements": [statement]})
    found = remote.call("GET", "/v1/cwobject/temporary-credentials/api-token")
    admin = world.s3(Keys(found["AccessKeyId"], found["SecretAccessKey"], found["Token"]))
    kubectl.run("create", "namespace", namespace)
    storage.world.apply(
        storage.federation(name=FEDERATION, trustManagement="Unmanaged", grantRules=RULES)
    )
    try:
        team = Team(storage, world, admin, namespace)
        team.apply()
        yield team
    finally:
        kubectl.run("delete", "fsb", "--all", f"--namespace={namespace}")
        kubectl.run("delete", "sfed", FEDERATION)
        remote.delete_policy(policy)
        world.close()


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_pod_can_do_what_the_page_says_of_its_binding_and_nothing_else(
    team: Team, variant: Variant, tmp_path: Path
) -> None:
    client = team.client(variant, tmp_path)
    places = EXTENTS[variant.extent]
    assert team.places(variant).everywhere(client) == documented(variant.inside, places)


def test_the_variants_are_each_level_and_custom_with_and_without_prefixes() -> None:
    assert sorted(str(variant) for variant in VARIANTS) == sorted(
        _name(level, narrowed) for level in Access for narrowed in (False, True)
    )
