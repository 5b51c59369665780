"""Where a decision about a Pod gets its facts: the caches, and one live read when they miss."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from caios_federation.api.vocabulary import SkipReason
from caios_federation.caches import PLAIN, Account, Caches, key_of
from caios_federation.clients.kubernetes import (
    SERVICE_ACCOUNT,
    KubernetesClient,
    read_with_deadline,
)
from caios_federation.core.account import relevant
from caios_federation.core.injection import Skip, opted_out, resolve
from caios_federation.core.patch import Operation, render_patch
from caios_federation.core.plan import Placement, plan
from caios_federation.core.pod import Raw, read_pod, service_account_of


@dataclass(frozen=True, slots=True)
class Decision:
    """What is answered about a Pod."""

    operations: tuple[Operation, ...] = ()
    warnings: tuple[str, ...] = ()
    skipped: SkipReason | None = None
    service_account: str = ""
    principal: str = ""

    @property
    def outcome(self) -> str:
        """One word: `injected`, `unchanged` (nothing to add) or `skipped`."""
        if self.skipped:
            return "skipped"
        return "injected" if self.operations else "unchanged"


class Decider:
    """Decides about Pods with what the caches know."""

    def __init__(
        self,
        caches: Caches,
        client: KubernetesClient,
        placement: Placement,
        *,
        live_read_seconds: float,
    ) -> None:
        self._caches = caches
        self._client = client
        self._placement = placement
        self._live_read_seconds = live_read_seconds
        self._reading: dict[str, asyncio.Task[Account]] = {}

    def certainly_unaffected(self, namespace: str, raw: Raw) -> bool:
        """Tell, from memory alone, that a Pod's ServiceAccount is known and not federated.

        The common case in any cluster, so it is asked before anything else is looked at.
        """
        name = service_account_of(raw)
        known = self._caches.accounts.objects.get(key_of(namespace, name))
        return known is PLAIN and not self._caches.bindings.naming(namespace, name)

    async def decide(self, namespace: str, raw: Raw) -> Decision:
        """Decide about `raw`, a Pod that is being created in `namespace`.

        Raises ClientError when the ServiceAccount is not in the cache and cannot be read either.
        """
        pod = read_pod(raw)
        if reason := opted_out(pod):
            return Decision(skipped=reason, service_account=pod.service_account)
        account = self._caches.accounts.objects.get(key_of(namespace, pod.service_account))
        if account is None:
            account = await self._read(namespace, pod.service_account)
        values = resolve(
            self._caches.sources(namespace, pod.service_account, account), pod.annotations
        )
        if isinstance(values, Skip):
            return Decision(
                warnings=values.warnings,
                skipped=values.reason,
                service_account=pod.service_account,
            )
        planned = plan(pod, values, self._placement)
        return Decision(
            operations=tuple(render_patch(planned, pod)),
            warnings=planned.warnings,
            service_account=pod.service_account,
            principal=values.principal,
        )

    async def _read(self, namespace: str, name: str) -> Account:
        """Read a ServiceAccount that the watch has not shown yet; once for all who wait for it.

        The answer is not put into the cache: the watch may know better by now.
        """
        key = key_of(namespace, name)
        task = self._reading.get(key)
        if task is None:
            task = asyncio.create_task(self._read_live(namespace, name))
            self._reading[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        # Shielded: who gives up first must not take the answer from the others.
        return await asyncio.shield(task)

    def _forget(self, key: str, done: asyncio.Task[Account]) -> None:
        """Let the next miss read again; a failure that nobody waited for is no news."""
        self._reading.pop(key, None)
        if not done.cancelled():
            done.exception()

    async def _read_live(self, namespace: str, name: str) -> Account:
        body = await read_with_deadline(
            self._client, SERVICE_ACCOUNT, namespace, name, seconds=self._live_read_seconds
        )
        metadata: Mapping[str, Any] = (body or {}).get("metadata") or {}
        annotations = relevant(metadata.get("annotations"))
        return Account(str(metadata.get("uid", "")), annotations) if annotations else PLAIN
