"""The MutatingWebhookConfiguration: rendered here, applied and healed by the controller alone."""

import asyncio
import base64
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from caios_federation.api import vocabulary as words
from caios_federation.api.objects import Json
from caios_federation.clients import errors
from caios_federation.clients.kubernetes import WEBHOOK_CONFIGURATION
from caios_federation.core.diff import contains
from caios_federation.reconcile.acting import Acting, log
from caios_federation.settings import Settings


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
    excluded = sorted({settings.namespace, "kube-system", "kube-node-lease"})
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


async def reconcile_webhook(settings: Settings, acting: Acting) -> None:
    """Have the configuration as rendered, written only when it differs. Raises ClientError."""
    ca = await asyncio.to_thread(_read_ca, settings.certificates.directory)
    wanted = render_webhook_configuration(settings, ca)
    try:
        current = await acting.client.read(WEBHOOK_CONFIGURATION, "", words.WEBHOOK_CONFIGURATION)
    except errors.NotFound:
        current = {}
    if contains(current, wanted):
        return
    await acting.client.apply(WEBHOOK_CONFIGURATION, wanted)
    log.info("webhook configuration applied", name=words.WEBHOOK_CONFIGURATION)


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
