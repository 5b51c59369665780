"""The CRDs of a cluster against those of this release."""

from collections.abc import Collection, Iterator
from typing import Any

from caios_federation.api.objects import Json, mapping_of
from caios_federation.core.text import cut


def versions_lost(current: Json, ours: Json) -> tuple[str, ...]:
    """Return the versions that the cluster serves or has stored and that `ours` does not know.

    Applying `ours` would take them away: their clients would get 404, and objects in etcd could
    not be read any more.
    """
    known = set(_versions(ours))
    status = mapping_of(current, "status").get("storedVersions")
    stored = status if isinstance(status, list) else []
    used = {*_versions(current), *(name for name in stored if isinstance(name, str))}
    return tuple(sorted(used - known))


def refuse_loss(name: str, lost: Collection[str]) -> str:
    """Return what people are told when the cluster's CRD is newer."""
    versions = ", ".join(cut(version) for version in lost)
    return (
        f"CRD {name}: the cluster's serves or has stored {versions}, which this release does not "
        "know: a newer release was installed; it is left as it is. Install that release or a later "
        "one, or have every object stored in a version that both know, take the newer ones out of "
        "the CRD's spec.versions and status.storedVersions, and try again"
    )


def is_established(body: Json) -> bool:
    """Tell whether the API server serves the kind."""
    return any(name == "Established" and status == "True" for name, status, _ in _conditions(body))


def naming_problem(body: Json) -> str:
    """Return why the API server does not take the names of the kind; empty where it does."""
    return next(
        (
            message or "the names are taken"
            for name, status, message in _conditions(body)
            if name == "NamesAccepted" and status == "False"
        ),
        "",
    )


def _versions(body: Json) -> Iterator[str]:
    """Yield the versions that are served or stored."""
    versions: Any = mapping_of(body, "spec").get("versions")
    for version in versions if isinstance(versions, list) else ():
        if version.get("served") or version.get("storage"):
            yield str(version.get("name"))


def _conditions(body: Json) -> Iterator[tuple[str, str, str]]:
    conditions: Any = mapping_of(body, "status").get("conditions")
    for entry in conditions if isinstance(conditions, list) else ():
        yield (
            str(entry.get("type")),
            str(entry.get("status")),
            str(entry.get("message") or ""),
        )
