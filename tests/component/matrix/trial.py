"""A principal with grants at the emulator, and what it can do where."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mypy_boto3_s3.client import S3Client

from builders import parsed_binding
from caios_federation.core.policy import compile_policy, document
from caios_federation.core.principal import Identity, parse_issuer, render_principal
from component.coreweave.world import ISSUER, MINT, Keys, World, token
from component.matrix.page import Matrix
from component.matrix.places import Places, always_virtual


@dataclass
class Trials:
    """Gives each trial principals and buckets of its own, in one organization."""

    world: World
    admin: S3Client
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def begin(self) -> Trial:
        places = Places(self.admin, f"t{next(self._numbers)}-")
        places.make()
        return Trial(self.world, places)


@dataclass(frozen=True)
class Trial:
    """Buckets, and principals that try to use them."""

    world: World
    places: Places

    @property
    def namespace(self) -> str:
        """The namespace of the principals."""
        return self.places.real("team")

    def principal(self, *grants: dict[str, Any], account: str = "reader") -> S3Client:
        """Apply the policy of a binding with `grants`, and return a client with its keys."""
        real = [self.places.granted(grant) for grant in grants]
        principal = render_principal(Identity(parse_issuer(ISSUER), self.namespace, account))
        policy = compile_policy(
            f"{self.namespace}-{account}", principal, parsed_binding(grants=real).spec.grants
        )
        answer = self.world.call("POST", "/v1/cwobject/access-policy", {"policy": document(policy)})
        assert answer.status == 200, answer.body
        return client_of(self.world, f"system:serviceaccount:{self.namespace}:{account}")

    def everywhere(self, client: S3Client) -> Matrix:
        """Try every operation at every place."""
        return self.places.everywhere(client)

    def at(self, client: S3Client, *places: str) -> Matrix:
        """Try every operation at some places."""
        return self.places.at(client, *places)


def client_of(world: World, subject: str) -> S3Client:
    """Exchange a token of `subject` as a workload does, and return boto3's client."""
    answer = world.exchange(token(sub=subject))
    assert answer.status == 200, answer.body
    keys = answer.json
    found = Keys(keys["AccessKeyId"], keys["SecretAccessKey"], keys["Token"])
    return always_virtual(world.s3(found))


def administrator(world: World) -> S3Client:
    """Return a client that may do everything in S3."""
    subject = "system:serviceaccount:admin:admin"
    world.grant("s3:*", MINT, name="admin", principal=f"role/{ISSUER}:{subject}")
    return client_of(world, subject)
