"""Whether injection is served: the webhook answers where the API server is told to call it."""

import base64
from collections.abc import Mapping
from typing import Any

from caios_federation.api import vocabulary as words
from caios_federation.api.conditions import Finding, Reason, Status
from caios_federation.api.objects import Json, mapping_of
from caios_federation.clients import errors
from caios_federation.clients.kubernetes import WEBHOOK_CONFIGURATION, KubernetesClient
from caios_federation.clients.webhook_probe import (
    PATIENCE_SECONDS,
    Outcome,
    Probed,
    probe,
    trust_only,
)
from caios_federation.core.diff import contains
from caios_federation.reconcile.webhook import render_webhook_configuration
from caios_federation.settings import CertificateProvider, Settings

_CONFIGURATION = f"{WEBHOOK_CONFIGURATION.kind} {words.WEBHOOK_CONFIGURATION}"


async def probe_webhook(
    client: KubernetesClient, settings: Settings, *, patience_seconds: float = PATIENCE_SECONDS
) -> Finding:
    """Tell whether the API server finds the webhook ready. Raises Retryable.

    Everything is read from the configuration that the API server has: what it says is what counts.
    """
    try:
        body = await client.read(WEBHOOK_CONFIGURATION, "", words.WEBHOOK_CONFIGURATION)
    except errors.NotFound:
        return _missing("does not exist")
    except errors.Terminal as error:
        message = f"{_CONFIGURATION} cannot be read: {error}; give the operator the right to"
        return Finding(Status.UNKNOWN, Reason.PENDING, message)
    wanted = render_webhook_configuration(settings, b"")["webhooks"][0]
    webhook = _named(body, words.WEBHOOK)
    if webhook is None or not contains(webhook, {"rules": wanted["rules"]}):
        return _missing(f"has no webhook {words.WEBHOOK} for the creation of Pods")
    called = mapping_of(webhook, "clientConfig")
    try:
        trusted = trust_only(base64.b64decode(str(called.get("caBundle") or "")).decode("ascii"))
    except ValueError:
        return _missing("has no caBundle that can be read")
    url = ready_url(called)
    return _told(url, await probe(url, trusted, patience_seconds=patience_seconds), settings)


def _named(body: Json, name: str) -> Mapping[str, Any] | None:
    entries = (entry for entry in body.get("webhooks") or () if isinstance(entry, Mapping))
    return next((entry for entry in entries if entry.get("name") == name), None)


def ready_url(called: Json) -> str:
    """Return where whoever is called says whether they want to be."""
    service = mapping_of(called, "service")
    if not service:
        return str(called.get("url")).removesuffix(words.MUTATE_PATH) + words.READY_PATH
    host = f"{service.get('name')}.{service.get('namespace')}.svc"
    return f"https://{host}:{service.get('port') or 443}{words.READY_PATH}"


def _told(url: str, probed: Probed, settings: Settings) -> Finding:
    match probed.outcome:
        case Outcome.SERVING:
            return Finding(Status.TRUE, Reason.SERVING, f"The webhook is ready at {url}")
        case Outcome.UNREADY | Outcome.UNREACHABLE:
            return Finding(
                Status.FALSE,
                Reason.NO_READY_REPLICA,
                f"No webhook is ready at {url}: {probed.problem}; "
                f"see kubectl get pods -n {settings.namespace}",
            )
        case Outcome.EXPIRED | Outcome.UNTRUSTED:
            return Finding(
                Status.FALSE,
                Reason.CERTIFICATE_EXPIRED,
                f"The API server does not trust the webhook at {url}: {probed.problem}; "
                f"{_renewal(settings)}",
            )


def _renewal(settings: Settings) -> str:
    certificates = settings.certificates
    secret = f"Secret {settings.namespace}/{certificates.secret_name}"
    match certificates.provider:
        case CertificateProvider.OPERATOR:
            return (
                f"{secret} holds the pair, and the controller's log says, under the component "
                "certificates, why it was not renewed"
            )
        case CertificateProvider.CERT_MANAGER:
            return (
                f"cert-manager keeps the pair and its ca.crt in {secret}: look at its Certificate"
            )
        case CertificateProvider.EXTERNAL:
            return f"put a new pair and its ca.crt into {secret}"


def _missing(problem: str) -> Finding:
    return Finding(
        Status.FALSE,
        Reason.CONFIGURATION_MISSING,
        f"{_CONFIGURATION} {problem}, so no Pod is injected; the controller puts that right, or "
        "its log says why it cannot",
    )
