"""What objects of every kind have in common, and how an untrusted one is read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

Json = Mapping[str, Any]
"""A JSON object as it came."""

_NUMBER: Final = re.compile(r"[0-9]{1,20}")
"""What fits 64 bits; int() refuses to read numbers of more than 4300 digits."""


class Spec(BaseModel):
    """Base of the typed views of the CRDs: camelCase on the wire, frozen, tolerant of new fields.

    The CRDs in `crds/` are the contract and validate; these models give their fields types.
    """

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True
    )


@dataclass(frozen=True, slots=True)
class Meta:
    """The part of `metadata` that decisions need."""

    namespace: str
    name: str
    uid: str
    generation: int
    created: str
    """RFC 3339; orders bindings of one ServiceAccount."""
    deleting: bool
    version: int = 0
    """The resourceVersion. Kubernetes states that they are comparable as numbers (KEP-5504)."""
    finalizers: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """`namespace/name`, or the name alone for what has no namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def parse_meta(body: Json) -> Meta:
    """Read the metadata of an object that the API server sent."""
    meta = mapping_of(body, "metadata")
    generation = meta.get("generation")
    return Meta(
        namespace=_text(meta, "namespace"),
        name=_text(meta, "name"),
        uid=_text(meta, "uid"),
        generation=generation if type(generation) is int else 0,
        created=_text(meta, "creationTimestamp"),
        deleting=bool(meta.get("deletionTimestamp")),
        version=version_of(body),
        finalizers=tuple(text for text in _list(meta, "finalizers") if isinstance(text, str)),
    )


def version_of(body: Json) -> int:
    """Return the resourceVersion as a number, 0 where it is none."""
    text = _text(mapping_of(body, "metadata"), "resourceVersion")
    return int(text) if _NUMBER.fullmatch(text) else 0


def mapping_of(body: Json, key: str) -> Json:
    """Return the object at `key`; what is none counts as empty."""
    value = body.get(key)
    return value if isinstance(value, Mapping) else {}


def _text(body: Json, key: str) -> str:
    value = body.get(key)
    return value if isinstance(value, str) else ""


def _list(body: Json, key: str) -> list[Any]:
    value = body.get(key)
    return value if isinstance(value, list) else []
