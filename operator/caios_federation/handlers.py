"""Every Kopf handler of the project, a few lines each: name the object, hand it over, return None.

Only `on.event`, admission and login: Kopf then writes nothing to any object
(docs/concepts/kopf.md).
"""

from typing import Any

import kopf

from caios_federation.admission.server import HANDLER_ID
from caios_federation.api.vocabulary import BINDINGS, FEDERATIONS, GROUP, VERSION
from caios_federation.clients.kubernetes import WEBHOOK_CONFIGURATION
from caios_federation.runtime import runtime_of
from caios_federation.settings import Role


def registry_for(role: Role) -> kopf.OperatorRegistry:
    """Return the handlers of a process of `role`."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(login)
    kopf.on.cleanup(registry=registry)(stop)
    kopf.on.event("", "v1", "serviceaccounts", registry=registry)(service_account_seen)
    kopf.on.event(GROUP, VERSION, BINDINGS, registry=registry)(binding_seen)
    kopf.on.event(GROUP, VERSION, FEDERATIONS, registry=registry)(federation_seen)
    if role is not Role.WEBHOOK:
        kopf.on.event("", "v1", "namespaces", registry=registry)(namespace_seen)
        kind = WEBHOOK_CONFIGURATION
        kopf.on.event(kind.api_version, kind.plural, registry=registry)(webhook_configuration_seen)
    if role is not Role.CONTROLLER:
        kopf.on.mutate("", "v1", "pods", id=HANDLER_ID, operations=["CREATE"], registry=registry)(
            mutate_pod
        )
    return registry


async def login(
    memo: Any,  # noqa: ANN401  # the Runtime, see runtime_of
    **_: Any,  # noqa: ANN401  # Kopf's keywords
) -> kopf.ConnectionInfo:
    """Log Kopf in exactly as our own client is; called again when a token is refused."""
    found = await runtime_of(memo).client.login()
    return kopf.ConnectionInfo(
        server=found.server,
        ca_path=found.ca_path,
        insecure=not found.verify,
        scheme=found.scheme,
        token=found.token.get_secret_value() if found.token else None,
        certificate_path=found.certificate_path,
        private_key_path=found.key_path,
    )


async def stop(
    memo: Any,  # noqa: ANN401  # the Runtime, see runtime_of
    **_: Any,  # noqa: ANN401  # Kopf's keywords
) -> None:
    """End what runs beside Kopf, which would otherwise wait for it in vain."""
    runtime_of(memo).stopping.set()


async def service_account_seen(
    event: kopf.RawEvent,
    memo: Any,  # noqa: ANN401  # the Runtime, see runtime_of
    **_: Any,  # noqa: ANN401  # Kopf's keywords
) -> None:
    """Take in an event of a ServiceAccount."""
    runtime = runtime_of(memo)
    runtime.observe(runtime.caches.accounts, event["type"], event["object"])


async def binding_seen(
    event: kopf.RawEvent,
    memo: Any,  # noqa: ANN401  # the Runtime, see runtime_of
    **_: Any,  # noqa: ANN401  # Kopf's keywords
) -> None:
    """Take in an event of a FederatedStorageBinding."""
    runtime = runtime_of(memo)
    runtime.observe(runtime.caches.bindings, event["type"], event["object"])


async def federation_seen(
    event: kopf.RawEvent,
    memo: Any,  # noqa: ANN401  # the Runtime, see runtime_of
    **_: Any,  # noqa: ANN401  # Kopf's keywords
) -> None:
    """Take in an event of a StorageFederation."""
    runtime = runtime_of(memo)
    runtime.observe(runtime.caches.federations, event["type"], event["object"])


async def namespace_seen(
    event: kopf.RawEvent,
    memo: Any,  # noqa: ANN401  # the Runtime, see runtime_of
    **_: Any,  # noqa: ANN401  # Kopf's keywords
) -> None:
    """Take in an event of a Namespace: grant rules select by its labels."""
    runtime = runtime_of(memo)
    runtime.observe(runtime.caches.namespaces, event["type"], event["object"])


async def webhook_configuration_seen(
    memo: Any,  # noqa: ANN401  # the Runtime, see runtime_of
    **_: Any,  # noqa: ANN401  # Kopf's keywords
) -> None:
    """Take in an event of our MutatingWebhookConfiguration: no other one is watched."""
    runtime_of(memo).heal_webhook()


async def mutate_pod(
    memo: Any,  # noqa: ANN401  # the Runtime, see runtime_of
    **_: Any,  # noqa: ANN401  # Kopf's keywords
) -> None:
    """Decide about the Pod of the admission request under way.

    The operations go through the exchange, not through Kopf's patch, which would copy and compare.
    """
    await runtime_of(memo).answer()
