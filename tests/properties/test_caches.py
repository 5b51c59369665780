"""Law 16: whatever watches and audits bring, in whatever order, the caches end up true.

The API server is modelled with what matters here: uids, growing resourceVersions, one consistent
moment for a whole LIST. Kopf is modelled by its workers: one for each uid, so that events of one
object come in order, those of an old object and its successor of the same name in any.
"""

import copy
from abc import abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Generator
from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import builders
from caios_federation.caches import PLAIN, Accounts, Bindings, Change, Federations, ObjectCache
from caios_federation.clients.kubernetes import Kind, KubernetesClient, Page

NAMES = st.sampled_from(["a", "b", "c"])
CHOICES = st.integers(0, 2)
"""What a new version of an object says: each machine has three things to say."""
Event = tuple[str, builders.Json]


class _Step:
    """Hands control back to the test in the middle of a LIST."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class PagedApi:
    """Lists what there was when the LIST began, a page at a time."""

    def __init__(self, truth: dict[str, builders.Json]) -> None:
        self._truth = truth

    async def list_pages(self, _kind: Kind, *, page_size: int) -> AsyncIterator[Page]:
        await _Step()  # the request is under way
        moment = [copy.deepcopy(body) for body in self._truth.values()]
        for start in range(0, len(moment), page_size):
            await _Step()
            yield Page(moment[start : start + page_size], "1")
        await _Step()


class CacheMachine(RuleBasedStateMachine):
    """Objects come, change and go; events are late, lost or doubled; audits run meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.cache: ObjectCache[Any] = self.make_cache()
        self.truth: dict[str, builders.Json] = {}
        self.pending: dict[str, deque[Event]] = {}
        """Undelivered events by uid."""
        self.answers: list[builders.Json] = []
        """Answers to writes of ours that are under way."""
        self.version = 0
        self.lost = False
        """Whether an event was lost since the last full audit."""
        self.auditing: Coroutine[Any, Any, list[Change]] | None = None
        self.shadow: dict[str, Any] = {}
        """The cache as somebody knows it who only heard of its changes."""

    @abstractmethod
    def make_cache(self) -> ObjectCache[Any]:
        """Return an empty cache of the machine's kind."""

    @abstractmethod
    def body(self, name: str, choice: int) -> builders.Json:
        """Return an object that says one of three things."""

    def check(self) -> None:
        """Check what must hold at any time."""

    # The API server -----------------------------------------------------------------------------

    @rule(name=NAMES, choice=CHOICES)
    def create(self, name: str, choice: int) -> None:
        if name not in self.truth:
            self.version += 1
            self._write("ADDED", name, choice, f"uid-{self.version}")

    @rule(name=NAMES, choice=CHOICES, ours=st.booleans())
    def change(self, name: str, choice: int, ours: bool) -> None:
        """Change an object; when the change is our own, there will be an answer."""
        if name in self.truth:
            self._write("MODIFIED", name, choice, self.truth[name]["metadata"]["uid"])
            if ours:
                self.answers.append(copy.deepcopy(self.truth[name]))

    @precondition(lambda self: bool(self.answers))
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        """Take in the answer to a write of ours, however much has happened since."""
        number = data.draw(st.integers(0, len(self.answers) - 1))
        self._heard(self.cache.answered(self.answers.pop(number)))

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        if name in self.truth:
            self.version += 1
            body = copy.deepcopy(self.truth.pop(name))
            body["metadata"]["resourceVersion"] = str(self.version)
            self.pending[body["metadata"]["uid"]].append(("DELETED", body))

    @rule(name=NAMES, choice=CHOICES)
    def replace(self, name: str, choice: int) -> None:
        self.delete(name)
        self.create(name, choice)

    def _write(self, event: str, name: str, choice: int, uid: str) -> None:
        self.version += 1
        body = self.body(name, choice)
        body["metadata"] |= {"uid": uid, "resourceVersion": str(self.version)}
        self.truth[name] = body
        self.pending.setdefault(uid, deque()).append((event, copy.deepcopy(body)))

    # The watch ----------------------------------------------------------------------------------

    @precondition(lambda self: any(self.pending.values()))
    @rule(data=st.data(), times=st.integers(1, 2))
    def deliver(self, data: st.DataObject, times: int) -> None:
        """Deliver the next event of an object, perhaps twice."""
        event, body = self._next(data).popleft()
        for _ in range(times):
            self._observe(event, body)

    @precondition(lambda self: any(self.pending.values()))
    @rule(data=st.data())
    def deliver_only_the_newest(self, data: st.DataObject) -> None:
        """Kopf hands over the newest of a batch alone."""
        queue = self._next(data)
        event, body = queue.pop()
        queue.clear()
        self._observe(event, body)

    @precondition(lambda self: any(self.pending.values()))
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        self._next(data).popleft()
        self.lost = True

    @rule()
    def watch_anew(self) -> None:
        """Deliver all there is anew, as a watch that begins again does; deletions are lost."""
        self.lost = self.lost or any(self.pending.values())
        self.pending = {body["metadata"]["uid"]: deque() for body in self.truth.values()}
        for body in self.truth.values():
            self._observe(None, copy.deepcopy(body))

    def _next(self, data: st.DataObject) -> deque[Event]:
        uids = sorted(uid for uid, events in self.pending.items() if events)
        return self.pending[data.draw(st.sampled_from(uids))]

    def _observe(self, event: str | None, body: builders.Json) -> None:
        self._heard(self.cache.observe(event, body))

    def _heard(self, change: Change) -> None:
        assert self.shadow.get(change.key) == change.before
        if change.now is None:
            self.shadow.pop(change.key, None)
        else:
            self.shadow[change.key] = change.now

    # Audits -------------------------------------------------------------------------------------

    @rule()
    def step(self) -> None:
        """Begin an audit, or let the one under way go on by one page."""
        if self.auditing is None:
            api = cast("KubernetesClient", PagedApi(self.truth))
            self.auditing = self.cache.audit(api, page_size=2)
        try:
            self.auditing.send(None)
        except StopIteration as done:
            self.auditing = None
            for change in done.value:
                self._heard(change)

    @precondition(lambda self: self.auditing is not None)
    @rule()
    def an_audit_fails(self) -> None:
        assert self.auditing is not None
        self.auditing.close()
        self.auditing = None

    def audit(self) -> None:
        """Audit from beginning to end, with nothing in between."""
        if self.auditing is not None:
            self.an_audit_fails()
        self.step()
        while self.auditing is not None:
            self.step()

    # Laws ---------------------------------------------------------------------------------------

    @invariant()
    def whoever_hears_of_changes_knows_the_cache(self) -> None:
        assert self.shadow == self.cache.objects

    @invariant()
    def what_must_hold_at_any_time_holds(self) -> None:
        self.check()

    def expected(self) -> dict[str, Any]:
        fresh = self.make_cache()
        for body in self.truth.values():
            fresh.observe("ADDED", copy.deepcopy(body))
        return fresh.objects

    @rule()
    def an_undisturbed_audit_makes_the_cache_true_whatever_was_lost(self) -> None:
        self.audit()
        assert self.cache.objects == self.expected()

    def teardown(self) -> None:
        """With all events delivered there is no ghost; with an audit, the cache is the truth."""
        if self.auditing is not None:
            self.an_audit_fails()
        for events in self.pending.values():
            for event, body in events:
                self._observe(event, body)
        for body in self.answers:
            self._heard(self.cache.answered(body))
        if not self.lost:
            assert self.cache.objects.keys() <= self.expected().keys()
        self.audit()
        assert self.cache.objects == self.expected()
        self.check()
        super().teardown()


class AccountMachine(CacheMachine):
    """ServiceAccounts: without annotations of ours, with one, with another."""

    def make_cache(self) -> ObjectCache[Any]:
        return Accounts()

    def body(self, name: str, choice: int) -> builders.Json:
        inputs = [{}, {"inject": "true"}, {"audience": "custom"}][choice]
        return builders.service_account(name, **inputs)

    def check(self) -> None:
        for account in self.cache.objects.values():
            assert account is PLAIN or account.annotations

    def _observe(self, event: str | None, body: builders.Json) -> None:
        key = f"team-a/{body['metadata']['name']}"
        before = self.cache.objects.get(key)
        super()._observe(event, body)
        if event == "DELETED" and before and before.uid not in {"", body["metadata"]["uid"]}:
            assert self.cache.objects[key] is before, "the end of one is not that of its successor"


class VersionedMachine(CacheMachine):
    """Objects that are kept with their version."""

    def __init__(self) -> None:
        super().__init__()
        self.newest: dict[str, int] = {}

    @invariant()
    def what_is_known_never_gets_older(self) -> None:
        versions = {key: entry.meta.version for key, entry in self.cache.objects.items()}
        for key, version in versions.items():
            assert version >= self.newest.get(key, 0)
        self.newest = versions


class BindingMachine(VersionedMachine):
    """Bindings of two ServiceAccounts, and some that cannot be read."""

    def make_cache(self) -> ObjectCache[Any]:
        return Bindings()

    def body(self, name: str, choice: int) -> builders.Json:
        account = ["one", "two", 5][choice]
        return builders.binding(name, serviceAccountName=account)

    def check(self) -> None:
        assert isinstance(self.cache, Bindings)
        listed = {
            (account, key): binding
            for account, named in self.cache._by_account.items()
            for key, binding in named.items()
        }
        held = {
            (f"team-a/{binding.spec.service_account_name}", key): binding
            for key, binding in self.cache.objects.items()
        }
        assert listed == held
        assert all(self.cache._by_account.values()), "an account without bindings is forgotten"
        for account in ("one", "two"):
            named = self.cache.naming("team-a", account)
            usable = [binding for binding in named if binding.usable]
            first = min(usable, key=lambda binding: binding.rank, default=None)
            assert self.cache.holder("team-a", account) is first
            assert {b.meta.name for b in named} == {
                b.meta.name
                for b in self.cache.objects.values()
                if b.spec.service_account_name == account
            }


class FederationMachine(VersionedMachine):
    """Federations, one of the versions of which cannot be read, and is then not known."""

    def make_cache(self) -> ObjectCache[Any]:
        return Federations()

    def body(self, name: str, choice: int) -> builders.Json:
        return builders.federation(name, region=["R1", "R2", 5][choice])


MANY = settings(stateful_step_count=40)
TestAccounts = AccountMachine.TestCase
TestAccounts.settings = MANY
TestBindings = BindingMachine.TestCase
TestBindings.settings = MANY
TestFederations = FederationMachine.TestCase
TestFederations.settings = MANY
