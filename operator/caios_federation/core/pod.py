"""A Pod as injection sees it: read once from the raw object, tolerant of any JSON.

The shapes that are read here are edited in `patch.py`; no other module knows a Pod. What is made
for each Pod is a NamedTuple: a frozen dataclass takes twice as long to make.
"""

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from caios_federation.api import vocabulary as words

Raw = Any
"""JSON of any shape: what an admission review holds is not validated yet."""

_CONTAINER_LISTS: Final = ("initContainers", "containers")
"""Init containers first: native sidecars are among them. Ephemeral ones cannot be injected."""


_READ_ONLY_KINDS: Final = frozenset({"configMap", "downwardAPI", "image", "projected", "secret"})
"""Volumes that no container can write to, whatever its mount says."""


class Mount(NamedTuple):
    """A path of a container that a volume or a block device takes."""

    volume: str
    """The volume's name; a part of a volume has its subPath after a colon, so that it never passes
    for the whole."""
    path: str
    """Normalised."""
    read_only: bool


class Container(NamedTuple):
    """One container: where it stands in the Pod, and what it has."""

    path: str
    """JSON pointer, such as `/spec/containers/0`."""
    name: str
    env: Mapping[str, Raw]
    """Of the AWS SDKs' variables, value by name; None where it comes from elsewhere (`valueFrom`).
    Others, of which there may be hundreds, are passed over."""
    mounts: tuple[Mount, ...]
    has_env: bool
    """Whether there is a list of variables to append to."""
    has_mounts: bool

    def mounts_whole(self, volume: str, path: str) -> bool:
        """Tell whether the whole of `volume` is mounted at the normalised `path`."""
        return any(mount.volume == volume and mount.path == path for mount in self.mounts)


class Pod(NamedTuple):
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
    raw_volumes = spec.get("volumes")
    volumes = {v["name"]: v for v in _mappings(raw_volumes) if isinstance(v.get("name"), str)}
    read_only = frozenset(n for n, v in volumes.items() if not _READ_ONLY_KINDS.isdisjoint(v))
    return Pod(
        labels=_mapping(metadata.get("labels")),
        annotations=_mapping(metadata.get("annotations")),
        has_metadata=isinstance(_get(raw, "metadata"), dict),
        service_account=service_account_of(raw),
        containers=tuple(_containers(spec, read_only)),
        volumes=volumes,
        has_volumes=isinstance(raw_volumes, list),
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
    if path.startswith("/") and not path.endswith("/") and "//" not in path and "/." not in path:
        return path  # as almost all are
    return posixpath.normpath("/" + path.lstrip("/"))


def _containers(spec: Mapping[str, Raw], read_only: frozenset[str]) -> Iterator[Container]:
    for kind in _CONTAINER_LISTS:
        items = spec.get(kind)
        for index, item in enumerate(items if isinstance(items, list) else ()):
            if isinstance(item, dict):
                yield _container(f"/spec/{kind}/{index}", item, read_only)


def _container(path: str, item: Mapping[str, Raw], read_only: frozenset[str]) -> Container:
    env, name = item.get("env"), item.get("name")
    return Container(
        path=path,
        name=name if isinstance(name, str) else "",
        env=_aws_variables(env) if isinstance(env, list) else {},
        mounts=tuple(_mounts(item, read_only)),
        has_env=isinstance(env, list),
        has_mounts=isinstance(item.get("volumeMounts"), list),
    )


def _aws_variables(env: list[Raw]) -> Mapping[str, Raw]:
    found: dict[str, Raw] = {}
    for entry in env:
        # Tried, not asked: there may be hundreds, and almost all have the shape that they should.
        try:
            name = entry["name"]
            if name.startswith(words.ENV_AWS_PREFIX):
                found[name] = entry.get("value")
        except (AttributeError, LookupError, TypeError):
            continue
    return found


def _mounts(item: Mapping[str, Raw], read_only: frozenset[str]) -> Iterator[Mount]:
    for mount in _mappings(item.get("volumeMounts")):
        path, volume = mount.get("mountPath"), str(mount.get("name"))
        if isinstance(path, str):
            part = mount.get("subPath") or mount.get("subPathExpr")
            yield Mount(
                volume=f"{volume}:{part}" if part else volume,
                path=normalise(path),
                read_only=mount.get("readOnly") is True or volume in read_only,
            )
    for device in _mappings(item.get("volumeDevices")):
        if isinstance(device.get("devicePath"), str):
            yield Mount(
                volume=f"{device.get('name')}:device",
                path=normalise(device["devicePath"]),
                read_only=True,
            )


def _get(raw: Raw, key: str) -> Raw:
    return raw.get(key) if isinstance(raw, dict) else None


def _mapping(raw: Raw) -> Mapping[str, Raw]:
    return raw if isinstance(raw, dict) else {}


def _mappings(raw: Raw) -> Iterator[Mapping[str, Raw]]:
    for item in raw if isinstance(raw, list) else ():
        if isinstance(item, dict):
            yield item
