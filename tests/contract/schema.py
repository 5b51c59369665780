"""A walk through the schema of a CustomResourceDefinition."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """A place in an object and what the schema says about it.

    Items of a list are at `<list>[]`, values of a map at `<map>{}`.
    """

    path: str
    schema: Schema

    @property
    def name(self) -> str:
        """The last word of the path."""
        return self.path.rpartition(".")[2]

    @property
    def rules(self) -> list[dict[str, str]]:
        """The field's CEL rules."""
        rules: list[dict[str, str]] = self.schema.get("x-kubernetes-validations", [])
        return rules


def root(crd: dict[str, Any]) -> Schema:
    """Return the schema of the CRD's only version."""
    (version,) = crd["spec"]["versions"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


def fields(crd: dict[str, Any], below: str = "") -> list[Field]:
    """Return the fields of the CRD, those at or below a path such as `spec`; not the root."""
    everything = _walk(root(crd), "")
    return [
        field
        for field in everything
        if field.path and (not below or field.path == below or field.path.startswith(f"{below}."))
    ]


def _walk(schema: Schema, path: str) -> Iterator[Field]:
    yield Field(path, schema)
    for name, child in schema.get("properties", {}).items():
        yield from _walk(child, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from _walk(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _walk(schema["additionalProperties"], f"{path}{{}}")
