"""Trying injection with a Pod that is never stored: what is sent, and what must come back."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from caios_federation.api import vocabulary as words
from caios_federation.api.objects import Json, mapping_of

_ACCOUNT_PREFIX: Final = "caios-federation-check-"
_LEAST: Final = {"cpu": "1m", "memory": "1Mi"}
"""Requested and the limit, for namespaces whose quota wants to be told."""


def render_trial_account(namespace: str) -> Json:
    """Return a ServiceAccount that asks for injection; the API server gives it a name."""
    return {
        "metadata": {
            "namespace": namespace,
            "generateName": _ACCOUNT_PREFIX,
            "labels": {words.MANAGED_BY: words.MANAGER},
            "annotations": {words.INJECT: words.TRUE},
        }
    }


def render_trial_pod(namespace: str, account: str) -> Json:
    """Return a Pod of `account` that passes the restricted Pod Security profile."""
    container = {
        "name": "check",
        "image": "registry.k8s.io/pause:3.10",  # never pulled: the Pod is not stored
        "resources": {"requests": dict(_LEAST), "limits": dict(_LEAST)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "metadata": {"namespace": namespace, "generateName": _ACCOUNT_PREFIX},
        "spec": {
            "serviceAccountName": account,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }


def find_missing(pod: Json) -> tuple[str, ...]:
    """Return what an injected Pod has and `pod` lacks, in words; empty where nothing is missing.

    Names and paths are settings of the operator, so that the token's file is followed from the
    variable through the mount to the volume.
    """
    return tuple(_missing(pod))


def _missing(pod: Json) -> Iterator[str]:
    metadata, spec = mapping_of(pod, "metadata"), mapping_of(pod, "spec")
    if mapping_of(metadata, "labels").get(words.FEDERATED) != words.TRUE:
        yield f'label {words.FEDERATED}: "{words.TRUE}"'
    if not mapping_of(metadata, "annotations").get(words.PRINCIPAL):
        yield f"annotation {words.PRINCIPAL}"
    container = next(_objects(spec, "containers"), {})
    env = {entry.get("name"): entry.get("value") for entry in _objects(container, "env")}
    wanted = (
        words.ENV_CREDENTIALS_URI,
        words.ENV_TOKEN_FILE,
        words.ENV_REGION,
        words.ENV_DEFAULT_REGION,
    )
    for name in wanted:
        if not env.get(name):
            yield f"variable {name}"
    directory, _, file = str(env.get(words.ENV_TOKEN_FILE) or "").rpartition("/")
    mounted = [
        mount.get("name")
        for mount in _objects(container, "volumeMounts")
        if directory and mount.get("mountPath") == directory
    ]
    if not any(
        source.get("path") == file
        for volume in _objects(spec, "volumes")
        if volume.get("name") in mounted
        for source in _token_sources(volume)
    ):
        yield "the volume with the ServiceAccount's token, mounted where the variable says"


def _token_sources(volume: Json) -> Iterator[Json]:
    for source in _objects(mapping_of(volume, "projected"), "sources"):
        token = source.get("serviceAccountToken")
        if isinstance(token, Mapping):
            yield token


def _objects(body: Json, key: str) -> Iterator[Json]:
    value: Any = body.get(key)
    for entry in value if isinstance(value, list) else ():
        if isinstance(entry, Mapping):
            yield entry
