"""Where a decision about a Pod gets its facts: the caches, and one live read when they miss.

What the Pods of a ServiceAccount get is resolved by the mutation handler, for the first of them.
It is kept for the others until any of its facts changes, so that they need no dispatch: that alone
costs more than all the rest (docs/design/0009).
"""

import asyncio
from typing import Final, NamedTuple

from caios_federation.api import vocabulary as words
from caios_federation.api.binding import Binding, first_of, parse_binding
from caios_federation.api.vocabulary import Outcome, SkipReason
from caios_federation.caches import PLAIN, Account, Caches, account_of, key_of
from caios_federation.clients import errors
from caios_federation.clients.kubernetes import BINDING, SERVICE_ACCOUNT, KubernetesClient
from caios_federation.core.injection import Skip, Sources, Values, opted_out, resolve
from caios_federation.core.ownership import is_ours
from caios_federation.core.patch import Operation, render_patch
from caios_federation.core.plan import Placement, plan
from caios_federation.core.pod import Pod, Raw, read_pod, service_account_of
from caios_federation.core.warning import PodWarning

Live = tuple[Account, Binding | None]
"""What a live read found: the ServiceAccount, and the binding that has it."""

_LIVE_READS: Final = 16
"""Live reads at the same time. A burst of unknown names must not flood the API server."""
_KEPT: Final = 4096
"""ServiceAccounts for which what was resolved is kept, a kilobyte each."""


class Decision(NamedTuple):
    """What is answered about a Pod."""

    operations: tuple[Operation, ...] = ()
    warnings: tuple[PodWarning, ...] = ()
    skipped: SkipReason | None = None
    service_account: str = ""
    principal: str = ""

    @property
    def outcome(self) -> Outcome:
        """What becomes of the Pod."""
        if self.skipped:
            return Outcome.SKIPPED
        return Outcome.INJECTED if self.operations else Outcome.UNCHANGED


class _Resolved(NamedTuple):
    """What Pods of a ServiceAccount get, and what that follows from."""

    sources: Sources
    values: Values


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
        self._live_reads = asyncio.Semaphore(_LIVE_READS)
        self._reading: dict[str, asyncio.Task[Live]] = {}
        self._resolved: dict[str, _Resolved] = {}
        """By the ServiceAccount's key, the oldest first."""

    def certainly_unaffected(self, namespace: str, raw: Raw) -> bool:
        """Tell, from memory alone, that a Pod's ServiceAccount is known and not federated.

        The common case in any cluster, so it is asked before anything else is looked at.
        """
        name = service_account_of(raw)
        key, accounts = key_of(namespace, name), self._caches.accounts
        return (
            accounts.objects.get(key) is PLAIN
            and not self._caches.bindings.naming(namespace, name)
            and not accounts.young(key)
        )

    def decide_as_before(self, namespace: str, raw: Raw) -> Decision | None:
        """Decide about `raw` as about an earlier Pod of its ServiceAccount.

        None where there was none, where anything has changed since, or where the Pod has wishes of
        its own: then the handler is to be asked.
        """
        name = service_account_of(raw)
        key = key_of(namespace, name)
        account, known = self._caches.accounts.objects.get(key), self._resolved.get(key)
        if account is None or known is None:
            return None
        if not _same(known.sources, self._caches.sources(namespace, name, account)):
            del self._resolved[key]
            return None
        pod = read_pod(raw)
        if opted_out(pod) or words.TOKEN_EXPIRATION in pod.annotations:
            return None
        return self._planned(pod, known.values)

    async def decide(self, namespace: str, raw: Raw) -> Decision:
        """Decide about `raw`, a Pod that is being created in `namespace`.

        Raises ClientError when the ServiceAccount is not in the cache and cannot be read either.
        """
        pod = read_pod(raw)
        if reason := opted_out(pod):
            return Decision(skipped=reason, service_account=pod.service_account)
        sources = await self._sources(namespace, pod.service_account)
        values = resolve(sources, pod.annotations)
        if (
            isinstance(values, Skip)
            and values.reason is SkipReason.NOT_FEDERATED
            and self._caches.accounts.young(key_of(namespace, pod.service_account))
        ):
            # Its binding may be in the same apply, and on its way to us.
            sources = await self._live_sources(namespace, pod.service_account)
            values = resolve(sources, pod.annotations)
        if isinstance(values, Skip):
            return Decision(
                warnings=values.warnings,
                skipped=values.reason,
                service_account=pod.service_account,
            )
        if words.TOKEN_EXPIRATION not in pod.annotations:
            self._keep(sources, values)
        return self._planned(pod, values)

    def _keep(self, sources: Sources, values: Values) -> None:
        """Keep what was resolved, for the Pods to come."""
        self._resolved[key_of(sources.namespace, sources.service_account)] = _Resolved(
            sources, values
        )
        if len(self._resolved) > _KEPT:
            del self._resolved[next(iter(self._resolved))]

    def _planned(self, pod: Pod, values: Values) -> Decision:
        planned = plan(pod, values, self._placement)
        return Decision(
            operations=tuple(render_patch(planned, pod)),
            warnings=planned.warnings,
            service_account=pod.service_account,
            principal=values.principal,
        )

    async def _sources(self, namespace: str, name: str) -> Sources:
        """Return who has a say about the Pods of a ServiceAccount, read live on a miss."""
        account = self._caches.accounts.objects.get(key_of(namespace, name))
        if account is not None:
            return self._caches.sources(namespace, name, account)
        return await self._live_sources(namespace, name)

    async def _live_sources(self, namespace: str, name: str) -> Sources:
        account, binding = await self._read(namespace, name)
        return self._caches.sources(namespace, name, account, binding)

    async def _read(self, namespace: str, name: str) -> Live:
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

    def _forget(self, key: str, done: asyncio.Task[Live]) -> None:
        """Let the next miss read again; a failure that nobody waited for is no news."""
        self._reading.pop(key, None)
        if not done.cancelled():
            done.exception()

    async def _read_live(self, namespace: str, name: str) -> Live:
        """Read the ServiceAccount and, since they come in one apply, the namespace's bindings."""
        try:
            async with asyncio.timeout(self._live_read_seconds), self._live_reads:
                try:
                    body = await self._client.read(SERVICE_ACCOUNT, namespace, name)
                except errors.NotFound:
                    return PLAIN, None
                objects = self._client.list_objects(BINDING, namespace=namespace)
                parsed = [parse_binding(one, ours=is_ours(one)) async for one in objects]
        except TimeoutError as error:
            raise errors.Unavailable(
                f"API server: {SERVICE_ACCOUNT.kind} {namespace}/{name}: "
                f"no answer in {self._live_read_seconds:g} s"
            ) from error
        bindings = [one for one in parsed if one.spec.service_account_name == name]
        return account_of(body), first_of(*bindings)


def _same(before: Sources, now: Sources) -> bool:
    """Tell whether nothing has changed: the caches replace an object that did."""
    return (
        before.annotations is now.annotations
        and before.binding is now.binding
        and before.federation is now.federation
        and before.discovered_issuer is now.discovered_issuer
    )
