"""Every Kopf handler of the project, a few lines each: name the object, hand it over, return None.

Only `on.event`, admission and login: Kopf then writes nothing to any object
(docs/concepts/kopf.md).
"""

import itertools
from collections.abc import Callable
from typing import Any

import aiohttp
import kopf

from caios_federation.admission.dispatch import HANDLER_ID
from caios_federation.caches import Caches, ObjectCache
from caios_federation.clients.kubernetes import (
    BINDING,
    FEDERATION,
    NAMESPACE,
    WEBHOOK_CONFIGURATION,
    Kind,
)
from caios_federation.clients.sockets import watchful_socket
from caios_federation.runtime import runtime_of
from caios_federation.settings import Role

_LOGINS = itertools.count()


def registry_for(role: Role) -> kopf.OperatorRegistry:
    """Return the handlers of a process of `role`."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(login)
    kopf.on.cleanup(registry=registry)(stop)
    _watch(registry, BINDING, lambda caches: caches.bindings)
    _watch(registry, FEDERATION, lambda caches: caches.federations)
    if role is not Role.WEBHOOK:
        _watch(registry, NAMESPACE, lambda caches: caches.namespaces)
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
) -> kopf.AiohttpSession:
    """Log Kopf in exactly as our own client is; called again when a token is refused."""
    found = await runtime_of(memo).login()
    info = kopf.ConnectionInfo(
        server=found.server,
        ca_path=found.ca_path,
        insecure=not found.verify,
        scheme=found.scheme,
        token=found.token.get_secret_value() if found.token else None,
        certificate_path=found.certificate_path,
        private_key_path=found.key_path,
    )
    connector = aiohttp.TCPConnector(
        limit=0, ssl=info.as_ssl_context(), socket_factory=watchful_socket
    )
    return kopf.AiohttpSession(
        server=info.server,
        aiohttp_session=aiohttp.ClientSession(connector=connector, headers=info.as_http_headers()),
        # Something new each time: Kopf ends the process when it is given credentials once more
        # that were refused before, also when it was the API server that could not tell.
        priority=next(_LOGINS),
    )


async def stop(
    memo: Any,  # noqa: ANN401  # the Runtime, see runtime_of
    **_: Any,  # noqa: ANN401  # Kopf's keywords
) -> None:
    """End what runs beside Kopf, which would otherwise wait for it in vain."""
    await runtime_of(memo).stop()


def _watch(
    registry: kopf.OperatorRegistry,
    kind: Kind,
    cache_of: Callable[[Caches], ObjectCache[Any]],
) -> None:
    """Have events of `kind` taken in by its cache."""

    async def seen(
        event: kopf.RawEvent,
        memo: Any,  # noqa: ANN401  # the Runtime, see runtime_of
        **_: Any,  # noqa: ANN401  # Kopf's keywords
    ) -> None:
        runtime = runtime_of(memo)
        runtime.observe(cache_of(runtime.caches), event["type"], event["object"])

    kopf.on.event(kind.api_version, kind.plural, id=kind.plural, registry=registry)(seen)


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
