"""The MutatingWebhookConfiguration: rendered here, applied and healed by the controller alone."""

import asyncio
import base64
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from caios_federation.api import vocabulary as words
from caios_federation.api.objects import Json
from caios_federation.clients import errors
from caios_federation.clients.kubernetes import WEBHOOK_CONFIGURATION, KubernetesClient
from caios_federation.core.diff import contains
from caios_federation.core.pods import namespaces_left_alone
from caios_federation.reconcile.acting import log
from caios_federation.settings import Settings

_DECISIVE: Final = frozenset(
    {"clientConfig", "matchConditions", "namespaceSelector", "objectSelector", "rules"}
)
"""Keys of a webhook in which anything that is added decides something."""


def serving_hosts(settings: Settings) -> list[str]:
    """Return the names that the API server calls the webhook by."""
    if settings.webhook.url:
        return [urlsplit(settings.webhook.url).hostname or "localhost"]
    service, namespace = settings.webhook.service_name, settings.namespace
    return [f"{service}.{namespace}.svc", f"{service}.{namespace}.svc.cluster.local"]


def render_webhook_configuration(settings: Settings, ca: bytes) -> Json:
    """Return the configuration; `ca` is the PEM bundle that the API server trusts.

    Creation of Pods only; never in the operator's own namespace, so that it can start, nor where
    a label says `"false"`. Mirror Pods are left out: no token reaches a static Pod.
    """
    not_opted_out = {"key": words.INJECT, "operator": "NotIn", "values": [words.FALSE]}
    excluded = sorted(namespaces_left_alone(settings.namespace))
    webhook: dict[str, Any] = {
        "name": words.WEBHOOK,
        "clientConfig": _client_config(settings, ca),
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
    return {
        "metadata": {
            "name": words.WEBHOOK_CONFIGURATION,
            "labels": {words.MANAGED_BY: words.MANAGER},
        },
        "webhooks": [webhook],
    }


def is_as_wanted(current: Json, wanted: Json) -> bool:
    """Tell whether the API server has the configuration as rendered.

    Labels and annotations of others do no harm. Whatever decides which Pods are sent where is
    compared exactly: all that the API server adds to it by default is rendered.
    """
    return contains(current, wanted, exactly=_DECISIVE)


async def reconcile_webhook(settings: Settings, client: KubernetesClient) -> None:
    """Have the configuration as rendered, written only when it differs. Raises ClientError."""
    try:
        current = await client.read(WEBHOOK_CONFIGURATION, "", words.WEBHOOK_CONFIGURATION)
    except errors.NotFound:
        current = {}
    # The CA is read after the object whose version is written over: a rotation in between is then
    # a conflict, and an older CA never replaces the newer one.
    ca = await asyncio.to_thread(_read_ca, settings.certificates.directory)
    wanted = render_webhook_configuration(settings, ca)
    if is_as_wanted(current, wanted):
        return
    applied = await client.apply(WEBHOOK_CONFIGURATION, _at_version_of(current, wanted))
    log.info("webhook configuration applied", name=words.WEBHOOK_CONFIGURATION)
    if is_as_wanted(applied, wanted):
        return
    # Applying leaves alone what another field manager added: a webhook, a matchCondition.
    merged = {**applied["metadata"], "labels": _labels(applied) | wanted["metadata"]["labels"]}
    await client.replace(WEBHOOK_CONFIGURATION, {**wanted, "metadata": merged})
    log.info("webhook configuration replaced", name=words.WEBHOOK_CONFIGURATION)


def _at_version_of(current: Json, wanted: Json) -> Json:
    """Return `wanted`, to be refused where the object is not `current` any more."""
    version = (current.get("metadata") or {}).get("resourceVersion")
    if not version:
        return wanted
    return {**wanted, "metadata": {**wanted["metadata"], "resourceVersion": version}}


def _labels(body: Json) -> dict[str, str]:
    return dict(body["metadata"].get("labels") or {})


def _read_ca(directory: Path) -> bytes:
    file = directory / "ca.crt"
    try:
        return file.read_bytes()
    except OSError as error:
        raise errors.Unavailable(f"{file}: {error.strerror}; no CA to publish yet") from error


def _client_config(settings: Settings, ca: bytes) -> dict[str, Any]:
    bundle = base64.b64encode(ca).decode()
    if settings.webhook.url:
        return {"url": settings.webhook.url.rstrip("/") + words.MUTATE_PATH, "caBundle": bundle}
    service = {
        "namespace": settings.namespace,
        "name": settings.webhook.service_name,
        "path": words.MUTATE_PATH,
        "port": settings.webhook.service_port,
    }
    return {"service": service, "caBundle": bundle}
