"""A principal with grants at the emulator, and what it can do where."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from mypy_boto3_s3.client import S3Client

from builders import parsed_binding
from caios_federation.core.policy import compile_policy, document
from caios_federation.core.principal import Identity, parse_issuer, render_principal
from component.coreweave.world import ISSUER, MINT, Keys, World, token
from component.matrix.calls import COPIES, ON_BUCKETS, ON_OBJECTS, Bucket, Object, attempt, spare
from component.matrix.page import LIST_BUCKETS

Matrix = dict[str, bool]
"""Whether an operation took place, by place, operation, and which end of a copy the place is."""

BUCKETS: Final = ("models", "models-old", "other")
OBJECTS: Final = (
    "models/logs/1",
    "models/logs-old/1",
    "models/data/1",
    "models-old/logs/1",
    "other/logs/1",
)
HOME: Final = "models/logs/home"
"""An object that is inside every grant: the other end of copies."""


@dataclass
class Trials:
    """Gives each trial principals and buckets of its own, in one organization."""

    world: World
    admin: S3Client
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def begin(self) -> Trial:
        trial = Trial(self, f"t{next(self._numbers)}-")
        for name in BUCKETS:
            Bucket(self.admin, trial.real(name)).make()
        return trial


@dataclass(frozen=True)
class Trial:
    """Buckets, and principals that try to use them. Names of the page get a prefix here."""

    trials: Trials
    prefix: str

    def real(self, name: str) -> str:
        """Return the bucket or object that a name of the page stands for."""
        return self.prefix + name

    def reals(self, buckets: list[str]) -> list[str]:
        """Return the buckets of a grant, each with its spare one."""
        plain = [self.real(name) for name in buckets if "*" not in name]
        patterns = [name if name == "*" else self.real(name) for name in buckets if "*" in name]
        return [*plain, *map(spare, plain), *patterns]

    def principal(self, *grants: dict[str, Any], account: str = "reader") -> S3Client:
        """Apply the policy of a binding with `grants`, and return a client with its keys."""
        real = [{**grant, "buckets": self.reals(grant["buckets"])} for grant in grants]
        namespace = self.prefix + "team"
        principal = render_principal(Identity(parse_issuer(ISSUER), namespace, account))
        policy = compile_policy(
            f"{namespace}-{account}", principal, parsed_binding(grants=real).spec.grants
        )
        world = self.trials.world
        answer = world.call("POST", "/v1/cwobject/access-policy", {"policy": document(policy)})
        assert answer.status == 200, answer.body
        return client_of(world, f"system:serviceaccount:{namespace}:{account}")

    def everywhere(self, client: S3Client) -> Matrix:
        """Try every operation at every place."""
        return self.at(client, *BUCKETS, *OBJECTS)

    def at(self, client: S3Client, *places: str) -> Matrix:
        """Try every operation at some places."""
        found = {LIST_BUCKETS: attempt(client, "list_buckets", {})}
        for place in places:
            found |= (self._at_object if "/" in place else self._at_bucket)(client, place)
        return found

    def _at_bucket(self, client: S3Client, place: str) -> Matrix:
        bucket = Bucket(self.trials.admin, self.real(place))
        return {
            f"{place}: {operation}": attempt(client, method, prepare(bucket))
            for operation, (method, prepare) in ON_BUCKETS.items()
        }

    def _at_object(self, client: S3Client, place: str) -> Matrix:
        here, home = self._object(place), self._object(HOME)
        found = {
            f"{place}: {operation}": attempt(client, method, prepare(here))
            for operation, (method, prepare) in ON_OBJECTS.items()
        }
        for operation, (method, ends) in COPIES.items():
            found[f"{place}: {operation}, from here"] = attempt(client, method, ends(here, home))
            found[f"{place}: {operation}, to here"] = attempt(client, method, ends(home, here))
        return found

    def _object(self, place: str) -> Object:
        bucket, _, key = self.real(place).partition("/")
        return Object(self.trials.admin, bucket, key)


def client_of(world: World, subject: str) -> S3Client:
    """Exchange a token of `subject` as a workload does, and return boto3's client."""
    answer = world.exchange(token(sub=subject))
    assert answer.status == 200, answer.body
    keys = answer.json
    client = world.s3(Keys(keys["AccessKeyId"], keys["SecretAccessKey"], keys["Token"]))
    # boto3 asks for a bucket's location in path style, whatever it is told.
    client.meta.events.register_last("before-endpoint-resolution.s3", _virtual)
    return client


def administrator(world: World) -> S3Client:
    """Return a client that may do everything in S3."""
    subject = "system:serviceaccount:admin:admin"
    world.grant("s3:*", MINT, name="admin", principal=f"role/{ISSUER}:{subject}")
    return client_of(world, subject)


def _virtual(builtins: dict[str, Any], **_: object) -> None:
    builtins["AWS::S3::ForcePathStyle"] = False
