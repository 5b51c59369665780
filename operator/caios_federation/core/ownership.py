"""Whether a binding is the controller's own, or a user's."""

from collections.abc import Iterator
from typing import Any, Final

from caios_federation.api import vocabulary as words
from caios_federation.api.objects import Json

_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


def is_ours(body: Json) -> bool:
    """Tell whether the controller made this object and no user took it over.

    Our label says who made it. A user takes it over by setting a field of its spec or by
    `kubectl apply`: from then on it is theirs, and we neither change nor delete it.
    """
    metadata = body.get("metadata") or {}
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    return (
        labels.get(words.MANAGED_BY) == words.MANAGER
        and _LAST_APPLIED not in annotations
        and not any(_sets_spec(entry) for entry in _foreign(metadata))
    )


def _foreign(metadata: Json) -> Iterator[dict[str, Any]]:
    for entry in metadata.get("managedFields") or ():
        if entry.get("manager") != words.MANAGER and not entry.get("subresource"):
            yield entry


def _sets_spec(entry: dict[str, Any]) -> bool:
    return "f:spec" in (entry.get("fieldsV1") or {})
