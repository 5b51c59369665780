"""A plan as RFC 6902 operations against the raw Pod.

Only `add`, one operation per element: what a later API version knows and we do not survives by
construction, and so does every order. A list or map that the Pod has not is created whole.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from caios_federation.api import vocabulary as words
from caios_federation.core.plan import Plan, TokenVolume, config_field_path
from caios_federation.core.pod import Pod


class Operation(TypedDict):
    """One operation of a JSON Patch."""

    op: Literal["add"]
    path: str
    value: Any


def render_patch(plan: Plan, pod: Pod) -> list[Operation]:
    """Return the operations that carry out `plan` on the Pod that `pod` was read from."""
    operations: list[Operation] = []
    if (plan.labels or plan.annotations) and not pod.has_metadata:
        operations.append(_add("/metadata", {}))
    operations += _entries("/metadata/labels", pod.labels, plan.labels)
    operations += _entries("/metadata/annotations", pod.annotations, plan.annotations)
    if plan.volume:
        volume = render_volume(plan.volume)
        operations += _items("/spec/volumes", [volume], exists=pod.has_volumes)
    for addition in plan.additions:
        container = addition.container
        env = [{"name": name, "value": text} for name, text in addition.env]
        operations += _items(f"{container.path}/env", env, exists=container.has_env)
        if addition.mount:
            name, path = addition.mount
            mount = {"name": name, "mountPath": path, "readOnly": True}
            where = f"{container.path}/volumeMounts"
            operations += _items(where, [mount], exists=container.has_mounts)
    return operations


def render_volume(volume: TokenVolume) -> dict[str, Any]:
    """Return the volume as a Pod has it.

    Without `defaultMode`: the kubelet then gives the token to a container's non-root user alone,
    with mode 0600.
    """
    sources: list[dict[str, Any]] = [
        {
            "serviceAccountToken": {
                "audience": volume.audience,
                "expirationSeconds": volume.expiration_seconds,
                "path": volume.token_file,
            }
        }
    ]
    if volume.with_config:
        item = {"path": words.AWS_CONFIG_FILE, "fieldRef": {"fieldPath": config_field_path()}}
        sources.append({"downwardAPI": {"items": [item]}})
    return {"name": volume.name, "projected": {"sources": sources}}


def _entries(path: str, present: Mapping[str, Any], added: Mapping[str, str]) -> list[Operation]:
    """Add entries to the map at `path`, which is created when it is absent or empty."""
    if added and not present:
        return [_add(path, dict(added))]
    return [
        _add(f"{path}/{key.replace('~', '~0').replace('/', '~1')}", text)
        for key, text in added.items()
    ]


def _items(path: str, items: list[dict[str, Any]], *, exists: bool) -> list[Operation]:
    """Append items to the list at `path`, which is created when it is absent."""
    if items and not exists:
        return [_add(path, items)]
    end = f"{path}/-"
    return [_add(end, item) for item in items]


def _add(path: str, value: object) -> Operation:
    return {"op": "add", "path": path, "value": value}
