"""Reading manifests from files, with errors that name what is missing."""

from collections.abc import Sequence
from typing import IO, Any

import click
import yaml


def read_manifests(file: IO[str]) -> list[dict[str, Any]]:
    """Return all objects of a YAML file, those of a List one by one."""
    try:
        documents = [document for document in yaml.safe_load_all(file) if document]
    except yaml.YAMLError as error:
        raise click.UsageError(f"{file.name}: not YAML: {error}") from error
    objects: list[dict[str, Any]] = []
    for document in documents:
        if not isinstance(document, dict):
            raise click.UsageError(f"{file.name}: a document is no object")
        items = document.get("items") if document.get("kind") == "List" else None
        objects += items if isinstance(items, list) else [document]
    return objects


def of_kind(objects: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Return the objects of `kind`."""
    return [body for body in objects if body.get("kind") == kind]


def only_of(objects: Sequence[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Return the one object of `kind`."""
    found = of_kind(objects, kind)
    if len(found) != 1:
        raise click.UsageError(f"expected one {kind} in the file, found {len(found)}")
    return found[0]
