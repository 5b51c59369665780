"""A Pod as injection sees it: read once from the raw object, tolerant of any JSON.

The shapes that are read here are edited in `patch.py`; no other module knows a Pod.
"""

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Raw = Any
"""JSON of any shape: what an admission review holds is not validated yet."""

_CONTAINER_LISTS: Final = ("initContainers", "containers")
"""Init containers first: native sidecars are among them. Ephemeral ones cannot be injected."""


@dataclass(frozen=True, slots=True)
class Container:
    """One container: where it stands in the Pod, and what it has."""

    path: str
    """JSON pointer, such as `/spec/containers/0`."""
    name: str
    env: Mapping[str, Raw]
    """Value by name; None where it comes from elsewhere (`valueFrom`)."""
    mounts: tuple[tuple[str, str], ...]
    """(volume name, normalised mount path) of each mount; a part of a volume has its subPath
    after a colon, so that it never passes for the whole."""
    has_env: bool
    """Whether there is a list of variables to append to."""
    has_mounts: bool


@dataclass(frozen=True, slots=True)
class Pod:
    """What injection needs to know of a Pod."""

    labels: Mapping[str, Raw]
    annotations: Mapping[str, Raw]
    has_metadata: bool
    service_account: str
    containers: tuple[Container, ...]
    volumes: Mapping[str, Mapping[str, Raw]]
    """Raw volume by name."""
    has_volumes: bool


def read_pod(raw: Raw) -> Pod:
    """Read `raw`, the object of an admission review. What has not the shape of a Pod is empty."""
    metadata, spec = _mapping(_get(raw, "metadata")), _mapping(_get(raw, "spec"))
    volumes = spec.get("volumes")
    return Pod(
        labels=_mapping(metadata.get("labels")),
        annotations=_mapping(metadata.get("annotations")),
        has_metadata=isinstance(_get(raw, "metadata"), dict),
        service_account=service_account_of(raw),
        containers=tuple(_containers(spec)),
        volumes={v["name"]: v for v in _mappings(volumes) if isinstance(v.get("name"), str)},
        has_volumes=isinstance(volumes, list),
    )


def service_account_of(raw: Raw) -> str:
    """Return the name of the ServiceAccount that `raw`, a Pod, runs as."""
    name = _mapping(_get(raw, "spec")).get("serviceAccountName")
    return name if isinstance(name, str) and name else "default"


def normalise(path: str) -> str:
    """Return `path` as an absolute path without trailing slashes, `.` and `..`.

    >>> normalise("/var//run/x/../secrets/")
    '/var/run/secrets'
    """
    return posixpath.normpath("/" + path.lstrip("/"))


def _containers(spec: Mapping[str, Raw]) -> Iterator[Container]:
    for kind in _CONTAINER_LISTS:
        items = spec.get(kind)
        for index, item in enumerate(items if isinstance(items, list) else ()):
            if isinstance(item, dict):
                yield _container(f"/spec/{kind}/{index}", item)


def _container(path: str, item: Mapping[str, Raw]) -> Container:
    env, mounts, name = item.get("env"), item.get("volumeMounts"), item.get("name")
    return Container(
        path=path,
        name=name if isinstance(name, str) else "",
        env={v["name"]: v.get("value") for v in _mappings(env) if isinstance(v.get("name"), str)},
        mounts=tuple(
            (_volume_of(mount), normalise(mount["mountPath"]))
            for mount in _mappings(mounts)
            if isinstance(mount.get("mountPath"), str)
        ),
        has_env=isinstance(env, list),
        has_mounts=isinstance(mounts, list),
    )


def _volume_of(mount: Mapping[str, Raw]) -> str:
    part = mount.get("subPath") or mount.get("subPathExpr")
    return f"{mount.get('name')}:{part}" if part else str(mount.get("name"))


def _get(raw: Raw, key: str) -> Raw:
    return raw.get(key) if isinstance(raw, dict) else None


def _mapping(raw: Raw) -> Mapping[str, Raw]:
    return raw if isinstance(raw, dict) else {}


def _mappings(raw: Raw) -> Iterator[Mapping[str, Raw]]:
    for item in raw if isinstance(raw, list) else ():
        if isinstance(item, dict):
            yield item
