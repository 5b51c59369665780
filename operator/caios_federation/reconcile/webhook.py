"""The MutatingWebhookConfiguration, rendered and compared; `reconcile/publishing.py` applies it."""

import base64
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from caios_federation.api import vocabulary as words
from caios_federation.api.objects import Json, mapping_of
from caios_federation.core.diff import contains
from caios_federation.core.pods import namespaces_left_alone
from caios_federation.settings import FailurePolicy, Settings

_DECISIVE: Final = frozenset(
    {"clientConfig", "matchConditions", "namespaceSelector", "objectSelector", "rules"}
)
"""Keys of a webhook in which anything that is added decides something."""


def serving_hosts(settings: Settings) -> list[str]:
    """Return the names that the API server calls the webhook by."""
    if settings.webhook.url:
        return [urlsplit(settings.webhook.url).hostname or "localhost"]
    services = [settings.webhook.service_name, settings.webhook.service_again_name]
    domains = [f"{settings.namespace}.svc", f"{settings.namespace}.svc.cluster.local"]
    return [f"{service}.{domain}" for service in services if service for domain in domains]


def render_webhook_configuration(settings: Settings, ca: bytes, owner: Json | None = None) -> Json:
    """Return the configuration; `ca` is the PEM bundle that the API server trusts.

    Creation of Pods only; never in the operator's own namespace, so that it can start, nor where
    a label says `"false"`. Mirror Pods are left out: no token reaches a static Pod. It goes with
    the object `owner`.
    """
    metadata: dict[str, Any] = {
        "name": words.WEBHOOK_CONFIGURATION,
        "labels": {words.MANAGED_BY: words.MANAGER},
    }
    if owner is not None:
        metadata["ownerReferences"] = [_reference(owner)]
    return {"metadata": metadata, "webhooks": _webhooks(settings, ca)}


def _webhooks(settings: Settings, ca: bytes) -> list[Json]:
    """Return the call, and under `Ignore` a second one.

    A call that is lost with a replica that dies is ignored, and the Pod would start without
    credentials; so it is made once more, to other replicas where there are some, while the Pod does
    not carry them (docs/design/0007).
    Under `Fail` the Pod is refused by then, and whoever creates it tries again.
    """
    first = _webhook(settings, ca, settings.webhook.service_name)
    if settings.webhook.failure_policy is FailurePolicy.FAIL:
        return [first]
    not_yet = {
        "name": "not-federated-yet",
        "expression": (
            "!has(object.metadata.labels) || "
            f"!('{words.FEDERATED}' in object.metadata.labels) || "
            f"object.metadata.labels['{words.FEDERATED}'] != '{words.TRUE}'"
        ),
    }
    again = settings.webhook.service_again_name or settings.webhook.service_name
    second = {
        **_webhook(settings, ca, again),
        "name": words.WEBHOOK_AGAIN,
        # Containers that later webhooks add are the first one's business.
        "reinvocationPolicy": "Never",
        "matchConditions": [*first["matchConditions"], not_yet],
    }
    return [first, second]


def _webhook(settings: Settings, ca: bytes, service: str) -> dict[str, Any]:
    not_opted_out = {"key": words.INJECT, "operator": "NotIn", "values": [words.FALSE]}
    excluded = sorted(namespaces_left_alone(settings.namespace))
    return {
        "name": words.WEBHOOK,
        "clientConfig": _client_config(settings, ca, service),
        "rules": [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["pods"],
                "scope": "Namespaced",
            }
        ],
        "failurePolicy": settings.webhook.failure_policy,
        "matchPolicy": "Equivalent",
        "reinvocationPolicy": settings.webhook.reinvocation_policy,
        "sideEffects": "None",
        "timeoutSeconds": settings.webhook.timeout_seconds,
        "admissionReviewVersions": ["v1"],
        "namespaceSelector": {
            "matchExpressions": [
                {"key": words.NAMESPACE_NAME, "operator": "NotIn", "values": excluded},
                not_opted_out,
            ]
        },
        "objectSelector": {"matchExpressions": [not_opted_out]},
        "matchConditions": [
            {
                "name": "not-a-mirror-pod",
                "expression": (
                    "!has(object.metadata.annotations) || "
                    f"!('{words.MIRROR_POD}' in object.metadata.annotations)"
                ),
            }
        ],
    }


def is_as_wanted(current: Json, wanted: Json) -> bool:
    """Tell whether the API server has the configuration as rendered.

    Labels, annotations and owners of others do no harm. Whatever decides which Pods are sent where
    is compared exactly: all that the API server adds to it by default is rendered.
    """
    owners = wanted["metadata"].get("ownerReferences", [])
    have = mapping_of(current, "metadata").get("ownerReferences") or []
    unowned = {key: of for key, of in wanted["metadata"].items() if key != "ownerReferences"}
    return contains(current, {**wanted, "metadata": unowned}, exactly=_DECISIVE) and all(
        any(contains(each, owner) for each in have) for owner in owners
    )


def at_version_of(current: Json, wanted: Json) -> Json:
    """Return `wanted`, to be refused where the object is not `current` any more."""
    version = mapping_of(current, "metadata").get("resourceVersion")
    if not version:
        return wanted
    return {**wanted, "metadata": {**wanted["metadata"], "resourceVersion": version}}


def in_place_of(current: Json, wanted: Json) -> Json:
    """Return `wanted` with what others say in the metadata of `current`."""
    labels = {**mapping_of(current["metadata"], "labels"), **wanted["metadata"]["labels"]}
    return {**wanted, "metadata": {**current["metadata"], "labels": labels}}


def published_bundle(current: Json) -> bytes:
    """Return the PEM bundles of our webhooks in the configuration, one after the other."""
    ours = [
        mapping_of(entry, "clientConfig").get("caBundle")
        for entry in current.get("webhooks") or ()
        if isinstance(entry, Mapping) and entry.get("name") in {words.WEBHOOK, words.WEBHOOK_AGAIN}
    ]
    return b"\n".join(_decoded(text) for text in ours)


def _reference(owner: Json) -> Json:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }


def _decoded(text: object) -> bytes:
    try:
        return base64.b64decode(str(text or ""))
    except ValueError:
        return b""


def _client_config(settings: Settings, ca: bytes, name: str) -> dict[str, Any]:
    bundle = base64.b64encode(ca).decode()
    if settings.webhook.url:
        return {"url": settings.webhook.url.rstrip("/") + words.MUTATE_PATH, "caBundle": bundle}
    service = {
        "namespace": settings.namespace,
        "name": name,
        "path": words.MUTATE_PATH,
        "port": settings.webhook.service_port,
    }
    return {"service": service, "caBundle": bundle}
