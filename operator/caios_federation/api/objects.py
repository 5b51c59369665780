"""What objects of every kind have in common, and how an untrusted one is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

Json = Mapping[str, Any]
"""A JSON object as it came."""


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

    @property
    def key(self) -> str:
        """`namespace/name`, or the name alone for what has no namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def parse_meta(body: Json) -> Meta:
    """Read the metadata of an object that the API server sent."""
    meta = body.get("metadata") or {}
    return Meta(
        namespace=meta.get("namespace") or "",
        name=meta.get("name") or "",
        uid=meta.get("uid") or "",
        generation=meta.get("generation") or 0,
        created=meta.get("creationTimestamp") or "",
        deleting=bool(meta.get("deletionTimestamp")),
        version=version_of(body),
    )


def version_of(body: Json) -> int:
    """Return the resourceVersion as a number, 0 where it is none."""
    text = str((body.get("metadata") or {}).get("resourceVersion") or "")
    return int(text) if text.isascii() and text.isdigit() else 0
