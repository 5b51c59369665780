"""What the process knows of the cluster: plain dictionaries, fed by watches, kept true by audits.

Never `@kopf.index`: it is quadratic at start, and an object whose deletion fell into a gap of the
watch stays in it for ever. Here a ghost would be a security defect: a new ServiceAccount of an old
name would inherit its identity. So a consistent LIST is taken at start and on a period, and what
is not in it goes.
"""

import asyncio
import contextlib
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from caios_federation.api.binding import Binding, first_of, parse_binding
from caios_federation.api.federation import Federation, parse_federation
from caios_federation.api.objects import Json, mapping_of, version_of
from caios_federation.clients import errors
from caios_federation.clients.kubernetes import (
    BINDING,
    FEDERATION,
    NAMESPACE,
    SERVICE_ACCOUNT,
    Kind,
    KubernetesClient,
)
from caios_federation.core.account import NO_ANNOTATIONS, Annotations, relevant
from caios_federation.core.injection import Sources, federation_name
from caios_federation.core.ownership import is_ours
from caios_federation.core.principal import Issuer
from caios_federation.observe.logging import Seldom, logger
from caios_federation.settings import CacheSettings

T = TypeVar("T")
_SECOND_AUDIT_SECONDS = 15.0
_QUIET_SECONDS = 1.0
"""Without a further object of a list, the list is over."""
_LONGEST_RETRY_SECONDS = 30.0
_LONGEST_WATCH_RETRY_SECONDS = 5.0
"""Short, because what happens meanwhile is not known until the watch is back."""
_TURN = 500
"""Keys that are compared before others get their turn in the event loop."""
_YOUTH_SECONDS = 5.0
"""How long after a ServiceAccount a binding of the same apply may be shown by its own watch."""
log = logger("caches")


@dataclass(frozen=True, slots=True)
class Account:
    """A ServiceAccount, reduced to what we read of it."""

    uid: str
    annotations: Annotations


@dataclass(frozen=True, slots=True)
class Change:
    """What was known of an object, and what is now."""

    kind: Kind | None
    """None: the cluster's issuer."""
    key: str
    before: Any
    now: Any


PLAIN = Account("", NO_ANNOTATIONS)
"""Every ServiceAccount without annotations of ours: one object for all of them."""


def key_of(namespace: str, name: str) -> str:
    """Return the key of an object: `namespace/name`, or the name where there is no namespace."""
    return f"{namespace}/{name}" if namespace else name


class ObjectCache(ABC, Generic[T]):
    """All objects of one kind, each reduced; what `reduce` answers None for is left out."""

    def __init__(self, kind: Kind, reduce: Callable[[Json], T | None]) -> None:
        self.kind = kind
        self.objects: dict[str, T] = {}
        self._reduce = reduce
        self._touched: set[str] = set()
        self.version = ""
        """Of the last LIST that was compared with."""
        self.followed = False
        """Whether a watch of ours goes on from each LIST, so that none is needed in doubt."""
        self.last_sync: float | None = None
        """When the last LIST that was compared with was begun: seconds since 1970."""

    def answered(self, body: Json) -> Change:
        """Take in the answer to a write of ours, unless the object is gone or another by now.

        The watch may be ahead of the answer: what it does not show any more must not come back.
        """
        key = _key(body)
        before = self.objects.get(key)
        if before is None or self._outlives(before, "MODIFIED", body):
            return Change(self.kind, key, before, before)
        self._touched.add(key)
        return Change(self.kind, key, before, self._store(key, self._reduce(body)))

    def observe(self, event: str | None, body: Json) -> Change:
        """Take in a watch event.

        Kopf's workers are per uid, so the deletion of an old object may come after the creation
        of its successor of the same name: it does not remove the successor. Nor does an event
        that was under way while we wrote put an older status back.
        """
        key = _key(body)
        self._touched.add(key)
        before = self.objects.get(key)
        if before is not None and self._outlives(before, event, body):
            return Change(self.kind, key, before, before)
        now = self._store(key, None if event == "DELETED" else self._reduce(body))
        return Change(self.kind, key, before, now)

    async def audit(self, client: KubernetesClient, *, page_size: int) -> list[Change]:
        """Compare with a consistent LIST; return what changed, as `observe` does.

        A LIST is never older than an event that was handled before it; keys that are touched
        meanwhile are left to the watch.
        """
        self._touched = set()
        began = time.time()
        live: dict[str, T] = {}
        version = ""
        async for page in client.list_pages(self.kind, page_size=page_size):
            version = page.version
            for body in page.items:
                reduced = self._reduce(body)
                if reduced is not None:
                    live[_key(body)] = reduced
        changes: list[Change] = []
        for number, key in enumerate(live.keys() | self.objects.keys()):
            if number % _TURN == 0:
                await asyncio.sleep(0)
            before, now = self.objects.get(key), live.get(key)
            if key not in self._touched and before != now:
                self._store(key, now)
                changes.append(Change(self.kind, key, before, now))
        self.last_sync, self.version = began, version
        return changes

    @abstractmethod
    def _outlives(self, before: T, event: str | None, body: Json) -> bool:
        """Tell whether what is known stands against an event that comes too late."""

    def _store(self, key: str, entry: T | None) -> T | None:
        if entry is None:
            self.objects.pop(key, None)
        else:
            self.objects[key] = entry
        return entry


def _key(body: Json) -> str:
    meta = body["metadata"]
    return key_of(meta.get("namespace") or "", meta["name"])


class Accounts(ObjectCache[Account]):
    """All ServiceAccounts; almost all of them are PLAIN and cost one entry of a dictionary.

    A young one may have a binding, made in the same apply, that its watch has not shown yet.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(SERVICE_ACCOUNT, account_of)
        self._clock = clock
        self._arrived: dict[str, float] = {}
        """When each young one arrived, in seconds; the oldest first."""

    def young(self, key: str, seconds: float = _YOUTH_SECONDS) -> bool:
        """Tell whether a ServiceAccount was created within the last `seconds`, five at most."""
        arrived = self._arrived.get(key)
        return arrived is not None and self._clock() - arrived < seconds

    def observe(self, event: str | None, body: Json) -> Change:
        """Take in a watch event, and note when what it shows is new."""
        change = super().observe(event, body)
        if event == "ADDED" and change.before is None:
            now = self._clock()
            self._arrived.pop(change.key, None)
            self._arrived[change.key] = now
            while self._arrived[oldest := next(iter(self._arrived))] <= now - _YOUTH_SECONDS:
                del self._arrived[oldest]
        return change

    def _outlives(self, before: Account, event: str | None, body: Json) -> bool:
        return event == "DELETED" and before.uid not in ("", body["metadata"].get("uid"))


def account_of(body: Json) -> Account:
    """Reduce a ServiceAccount to what we read of it."""
    meta = body["metadata"]
    annotations = relevant(meta.get("annotations"))
    return Account(meta.get("uid", ""), annotations) if annotations else PLAIN


class Federations(ObjectCache[Federation]):
    """All StorageFederations."""

    def __init__(self) -> None:
        super().__init__(FEDERATION, _federation)

    def _outlives(self, before: Federation, _event: str | None, body: Json) -> bool:
        return before.meta.version > version_of(body)


def _federation(body: Json) -> Federation | None:
    try:
        return parse_federation(body)
    except ValidationError as error:
        log.warning(
            "federation not understood",
            federation=_key(body),
            err="; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()),
        )
        return None


class Bindings(ObjectCache[Binding]):
    """All bindings, also by the ServiceAccount they name.

    `slim` ones are all that admission reads: a status can be large, and anybody may make many.
    """

    def __init__(self, *, slim: bool = False) -> None:
        def reduce(body: Json) -> Binding:
            binding = parse_binding(body, ours=is_ours(body))
            return slimmed(binding) if slim else binding

        super().__init__(BINDING, reduce)
        self._by_account: dict[str, dict[str, Binding]] = {}
        self._holders: dict[str, Binding] = {}

    def naming(self, namespace: str, service_account: str) -> Collection[Binding]:
        """Return the bindings that name a ServiceAccount."""
        return self._by_account.get(key_of(namespace, service_account), {}).values()

    def holder(self, namespace: str, service_account: str) -> Binding | None:
        """Return the binding that has a ServiceAccount, if one does."""
        return self._holders.get(key_of(namespace, service_account))

    def _outlives(self, before: Binding, _event: str | None, body: Json) -> bool:
        return before.meta.version > version_of(body)

    def _store(self, key: str, entry: Binding | None) -> Binding | None:
        before = self.objects.get(key)
        if before is not None:
            self._unlist(key, before)
        if entry is not None:
            self._list(key, entry)
        return super()._store(key, entry)

    def _list(self, key: str, entry: Binding) -> None:
        account = key_of(entry.meta.namespace, entry.spec.service_account_name)
        self._by_account.setdefault(account, {})[key] = entry
        if (best := first_of(entry, self._holders.get(account))) is not None:
            self._holders[account] = best

    def _unlist(self, key: str, entry: Binding) -> None:
        account = key_of(entry.meta.namespace, entry.spec.service_account_name)
        siblings = self._by_account[account]
        del siblings[key]
        if self._holders.get(account) is entry:
            del self._holders[account]
            if (best := first_of(*siblings.values())) is not None:
                self._holders[account] = best
        if not siblings:
            del self._by_account[account]


def slimmed(binding: Binding) -> Binding:
    """Return `binding` without what admission never reads."""
    return replace(binding, status={}, spec=binding.spec.model_copy(update={"grants": ()}))


@dataclass(frozen=True, slots=True)
class NamespaceLabels:
    """A Namespace, reduced to what grant rules select by."""

    labels: Mapping[str, str]
    version: int = field(default=0, compare=False)


class Namespaces(ObjectCache[NamespaceLabels]):
    """All Namespaces: the controller's, since only grants ask for them."""

    def __init__(self) -> None:
        super().__init__(NAMESPACE, _namespace_labels)

    def _outlives(self, before: NamespaceLabels, _event: str | None, body: Json) -> bool:
        return before.version > version_of(body)


def _namespace_labels(body: Json) -> NamespaceLabels:
    labels = mapping_of(mapping_of(body, "metadata"), "labels")
    return NamespaceLabels(labels=dict(labels), version=version_of(body))


def _grown(first: float, failures: int, longest: float) -> float:
    """Return the pause after so many failures in a row: twice as long each time, to a limit."""
    return min(first * 2.0 ** min(failures, 10), longest)


class Caches:
    """What the process knows of the cluster; `slim` is what a decision about a Pod needs."""

    def __init__(self, *, slim: bool = False) -> None:
        self.accounts = Accounts()
        self.bindings = Bindings(slim=slim)
        self.federations = Federations()
        self.namespaces = Namespaces()
        """Empty where `slim`."""
        self._slim = slim
        self._auditing = asyncio.Lock()
        self._doubted = asyncio.Event()
        self.issuer: Issuer | None = None
        self.issuer_problem = "the API server was not asked yet"
        """Why `issuer` is None."""
        self._undiscovered = asyncio.Event()
        """Set while the last that was asked for the issuer did not tell it."""
        self._issuer_trouble = Seldom()
        self.synced = asyncio.Event()
        """Set once everything was listed: from then on an absent object is known to be absent."""
        self.problem = "nothing was listed yet"
        """Why the last audit failed; nothing after one that did not."""

    @property
    def all(self) -> list[ObjectCache[Any]]:
        """The caches that are filled, in the order in which they are."""
        caches: list[ObjectCache[Any]] = [self.federations, self.bindings, self.accounts]
        return caches if self._slim else [self.namespaces, *caches]

    def sources(
        self,
        namespace: str,
        service_account: str,
        account: Account,
        binding: Binding | None = None,
    ) -> Sources:
        """Return everything that has a say about the Pods of a ServiceAccount.

        `binding` is the one that has it, where somebody knows better than the cache.
        """
        binding = binding or self.bindings.holder(namespace, service_account)
        name = federation_name(account.annotations, binding)
        return Sources(
            namespace=namespace,
            service_account=service_account,
            annotations=account.annotations,
            binding=binding,
            federation=self.federations.objects.get(name),
            discovered_issuer=self.issuer,
        )

    def doubt(self) -> None:
        """Have everything audited soon: deletions may have been missed."""
        self._doubted.set()

    async def keep_true(
        self,
        client: KubernetesClient,
        settings: CacheSettings,
        changed: Callable[[Change], None] = lambda _change: None,
    ) -> None:
        """Audit at start, on a period and in doubt, for ever. Failures keep the caches as they are.

        The second audit comes soon: the first may have seen an object that was deleted before
        the watch began. Neither it nor doubt is about what a watch of ours follows.
        """
        failures, whole = 0, 0.0
        while True:
            delay = settings.audit_period_seconds
            due = time.monotonic() >= whole
            try:
                await self.audit(client, settings, changed, whole=due)
            except errors.ClientError as error:
                failures += 1
                self.problem = str(error)
                delay = _grown(0.25, failures, min(_LONGEST_RETRY_SECONDS, delay))
                log.warning("audit failed", err=str(error), attempt=failures)
            else:
                failures, self.problem = 0, ""
                whole = time.monotonic() + delay * 0.8 if due else whole
                delay = delay if self.synced.is_set() else min(_SECOND_AUDIT_SECONDS, delay)
                self.synced.set()
            await self._rest(delay * random.uniform(0.9, 1.1))  # noqa: S311  # jitter

    async def _rest(self, seconds: float) -> None:
        """Wait for `seconds`, or until there was doubt and the list that raised it is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._doubted.wait()
                while self._doubted.is_set():
                    self._doubted.clear()
                    await asyncio.sleep(_QUIET_SECONDS)

    async def audit(
        self,
        client: KubernetesClient,
        settings: CacheSettings,
        changed: Callable[[Change], None] = lambda _change: None,
        *,
        whole: bool = True,
    ) -> None:
        """Compare with the API server once, one after the other. Raises ClientError.

        Unless `whole`, what is followed is passed over.
        """
        async with self._auditing:
            await self._discover(client, changed)
            for cache in self.all:
                if whole or not cache.followed:
                    await self._compare(cache, client, settings, changed)

    async def insist_on_issuer(
        self,
        client: KubernetesClient,
        settings: CacheSettings,
        changed: Callable[[Change], None] = lambda _change: None,
    ) -> None:
        """Ask again for an issuer that could not be discovered, for ever, in growing pauses.

        Until the next audit, nothing would be injected for federations that state none.
        """
        while True:
            await self._undiscovered.wait()
            failures = 0
            while self._undiscovered.is_set():
                failures += 1
                delay = _grown(0.25, failures, settings.audit_period_seconds)
                await asyncio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311  # jitter
                async with self._auditing:
                    if self._undiscovered.is_set():  # else an audit was told it meanwhile
                        await self._discover(client, changed)

    async def follow(
        self,
        cache: ObjectCache[Any],
        client: KubernetesClient,
        settings: CacheSettings,
        changed: Callable[[Change], None] = lambda _change: None,
    ) -> None:
        """Watch what Kopf does not, for ever: from the last LIST on, or from another one.

        Another one is needed where events were lost; otherwise each watch goes on where the one
        before ended, and none is.
        """
        await self.synced.wait()
        cache.followed = True
        version, failures, seldom = cache.version, 0, Seldom()
        while True:
            try:
                if not version:
                    async with self._auditing:
                        await self._compare(cache, client, settings, changed)
                    version = cache.version
                async for event in client.watch(cache.kind, version):
                    version, failures = event.version, 0
                    if not event.is_bookmark:
                        changed(cache.observe(event.type, event.object))
            except errors.Expired as error:
                log.info("watch begins anew", kind=cache.kind.kind, err=str(error))
                version, failures = "", failures + 1
            except errors.ClientError as error:
                failures += 1
                if seldom.due(str(error)):
                    log.warning("watch failed", kind=cache.kind.kind, err=str(error))
            else:
                failures += 1  # ended in order, as they all do; but a proxy may end each at once
                seldom.over()
            delay = _grown(0.05, failures, _LONGEST_WATCH_RETRY_SECONDS)
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311  # jitter

    async def _compare(
        self,
        cache: ObjectCache[Any],
        client: KubernetesClient,
        settings: CacheSettings,
        changed: Callable[[Change], None],
    ) -> None:
        for change in await cache.audit(client, page_size=settings.page_size):
            changed(change)

    async def _discover(self, client: KubernetesClient, changed: Callable[[Change], None]) -> None:
        """Ask for the issuer; a failure is told, since a federation may state its issuer."""
        before = self.issuer
        try:
            self.issuer = await client.discover_issuer()
        except errors.ClientError as error:
            self.issuer_problem = str(error)
            self._undiscovered.set()
            if self._issuer_trouble.due(self.issuer_problem):
                log.warning("issuer not discovered", err=self.issuer_problem)
        else:
            self._undiscovered.clear()
            self._issuer_trouble.over()
        if self.issuer != before:
            log.info("issuer discovered", issuer=self.issuer)
            changed(Change(None, "", before, self.issuer))
