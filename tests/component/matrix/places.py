"""The buckets and objects of the page, and which operations a client can do with each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from mypy_boto3_s3.client import S3Client

from component.matrix.calls import COPIES, ON_BUCKETS, ON_OBJECTS, Bucket, Object, attempt, spare
from component.matrix.page import LIST_BUCKETS, Matrix

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


@dataclass(frozen=True)
class Places:
    """Buckets of one trial. Names of the page get a prefix here."""

    admin: S3Client
    prefix: str

    def make(self) -> None:
        """Create the buckets."""
        for name in BUCKETS:
            Bucket(self.admin, self.real(name)).make()

    def real(self, name: str) -> str:
        """Return the bucket or object that a name of the page stands for."""
        return self.prefix + name

    def granted(self, grant: dict[str, Any]) -> dict[str, Any]:
        """Return a grant of the page with the buckets that are meant, each with its spare one."""
        buckets: list[str] = grant["buckets"]
        plain = [self.real(name) for name in buckets if "*" not in name]
        patterns = [name if name == "*" else self.real(name) for name in buckets if "*" in name]
        return {**grant, "buckets": [*plain, *map(spare, plain), *patterns]}

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
        bucket = Bucket(self.admin, self.real(place))
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
        return Object(self.admin, bucket, key)


def always_virtual(client: S3Client) -> S3Client:
    """Have a client ask for a bucket's location in virtual style too, like for all else.

    boto3 asks for it in path style, whatever it is told.
    """
    client.meta.events.register_last("before-endpoint-resolution.s3", _virtual)
    return client


def _virtual(builtins: dict[str, Any], **_: object) -> None:
    builtins["AWS::S3::ForcePathStyle"] = False
