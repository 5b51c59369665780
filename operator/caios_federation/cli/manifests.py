"""Reading manifests from files, with errors that name the object and the field.

What the API server would refuse is refused here too, as far as a decision depends on it: what is
decided offline must not differ from what happens in a cluster.
"""

from collections.abc import Sequence
from typing import IO, Any

import click
import yaml
from pydantic import ValidationError

from caios_federation.api import vocabulary as words
from caios_federation.api.binding import Binding, parse_binding
from caios_federation.api.federation import Federation, parse_federation

Manifest = dict[str, Any]


def read_manifests(file: IO[str]) -> list[Manifest]:
    """Return all objects of a YAML file, those of a List one by one."""
    try:
        documents = [document for document in yaml.safe_load_all(file) if document]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file.name}: not YAML: {error}") from error
    objects: list[Any] = []
    for document in documents:
        is_list = isinstance(document, dict) and document.get("kind") == "List"
        items = document.get("items") if is_list else None
        objects += items if isinstance(items, list) else [document]
    for body in objects:
        _check(file.name, body)
    return objects


def of_kind(objects: Sequence[Manifest], kind: str) -> list[Manifest]:
    """Return the objects of `kind`."""
    return [body for body in objects if body["kind"] == kind]


def only_of(objects: Sequence[Manifest], kind: str) -> Manifest:
    """Return the one object of `kind`."""
    found = of_kind(objects, kind)
    if len(found) != 1:
        raise click.UsageError(f"expected one {kind} in the file, found {len(found)}")
    return found[0]


def namespace_of(body: Manifest, default: str) -> str:
    """Return the namespace that `body` states, else `default`."""
    return str(body["metadata"].get("namespace") or default)


def binding_of(body: Manifest) -> Binding:
    """Return the binding that `body` is."""
    binding = parse_binding(body, ours=False)
    if binding.invalid:
        raise click.UsageError(f"{words.BINDING_KIND} {binding.meta.key}: {binding.invalid}")
    return binding


def federation_of(body: Manifest) -> Federation:
    """Return the federation that `body` is."""
    try:
        return parse_federation(body)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, ("spec", *first["loc"])))
        name = body["metadata"]["name"]
        raise click.UsageError(f"{words.FEDERATION_KIND} {name}: {field}: {first['msg']}") from None


def _check(file: str, body: Any) -> None:  # noqa: ANN401  # any YAML
    """Refuse what has not the form of an object."""
    if not isinstance(body, dict):
        raise click.UsageError(f"{file}: a document is no object")
    kind, metadata = body.get("kind"), body.get("metadata")
    if not isinstance(kind, str):
        raise click.UsageError(f"{file}: kind: must be a string")
    if not isinstance(metadata, dict):
        raise click.UsageError(f"{kind}: metadata: must be an object")
    name, namespace = (
        metadata.get("name") or metadata.get("generateName"),
        metadata.get("namespace"),
    )
    if not isinstance(name, str):
        raise click.UsageError(f"{kind}: metadata.name: must be a string")
    if not isinstance(namespace, str | None):
        raise click.UsageError(f"{kind} {name}: metadata.namespace: must be a string")
    which = f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
    for field in ("labels", "annotations"):
        _check_texts(f"{which}: metadata.{field}", metadata.get(field))
    if not isinstance(body.get("spec"), dict | None):
        raise click.UsageError(f"{which}: spec: must be an object")


def _check_texts(field: str, texts: Any) -> None:  # noqa: ANN401  # any YAML
    """Refuse a value that YAML takes for a number or a boolean, as the API server does."""
    if texts is None:
        return
    if not isinstance(texts, dict):
        raise click.UsageError(f"{field}: must be an object")
    for key, text in texts.items():
        if not isinstance(text, str):
            raise click.UsageError(f"{field}: {key} must be a string; quote it")
