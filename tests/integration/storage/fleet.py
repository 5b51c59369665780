"""Many bindings: what was declared of each and when, as the core compiles it."""

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from caios_federation.api.binding import parse_binding
from caios_federation.core.naming import policy_name
from caios_federation.core.policy import compile_policy, document
from caios_federation.core.principal import Identity, Issuer, render_principal
from integration.storage.conftest import Storage, granted
from integration.storage.remote import Change, Json

NAMESPACES = tuple(f"fleet-{number}" for number in range(8))


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a binding's policy was to be from `time` on; None: it was to go."""

    time: dt.datetime
    policy: Json | None


def grants_of(number: int) -> list[Json]:
    """Return grants that differ from one binding to the next, of every level of access."""
    own = f"bucket-{number}"
    levels: Sequence[list[Json]] = (
        [{"name": "data", "buckets": [own], "access": "ReadOnly"}],
        [{"name": "data", "buckets": [own], "access": "ReadWrite", "prefixes": ["a/", "b/"]}],
        [{"name": "logs", "buckets": [f"{own}-*", "logs"], "access": "WriteOnly"}],
        [
            {"name": "all", "buckets": [own], "access": "FullControl"},
            {"name": "shared", "buckets": ["shared"], "access": "ReadOnly", "listing": "None"},
        ],
        [
            {
                "name": "some",
                "buckets": [own],
                "access": "Custom",
                "actions": ["s3:GetObject", "s3:PutObject*"],
            }
        ],
    )
    return levels[number % len(levels)]


@dataclass(slots=True)
class Fleet:
    """Bindings of a cluster by number; each has a ServiceAccount of its own name."""

    storage: Storage
    size: int
    declared: dict[str, list[Declaration]] = field(default_factory=dict)
    """By name of the policy."""
    _grants: dict[int, list[Json]] = field(default_factory=dict)

    def place(self, number: int) -> tuple[str, str]:
        """Return namespace and name of a binding."""
        return NAMESPACES[number % len(NAMESPACES)], f"binding-{number:03}"

    def policy_name(self, number: int) -> str:
        """Return the name of a binding's policy."""
        return policy_name(self._issuer, *self.place(number))

    @property
    def left(self) -> frozenset[int]:
        """The bindings that are declared now."""
        return frozenset(self._grants)

    @property
    def expected(self) -> dict[str, Json]:
        """The policies that are declared now, by name."""
        last = {name: history[-1].policy for name, history in self.declared.items()}
        return {name: policy for name, policy in last.items() if policy is not None}

    def namespaces(self) -> None:
        """Create the namespaces."""
        self.storage.world.apply(
            *(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
                for name in NAMESPACES
            )
        )

    def apply(self, grants: Mapping[int, list[Json]]) -> None:
        """Declare the grants of bindings, then apply them in one call."""
        objects: list[Json] = []
        for number, asked in grants.items():
            namespace, name = self.place(number)
            objects += granted(namespace, *asked, name=name)
            self._declare(number, self._compile(objects[-1]))
            self._grants[number] = asked
        self.storage.world.apply(*objects)

    def change(self, numbers: Iterable[int], *, by: int) -> None:
        """Give bindings the grants of others: wider ones to some, narrower ones to others."""
        self.apply({number: grants_of(number + by) for number in numbers})

    def delete(self, numbers: Iterable[int]) -> None:
        """Delete bindings, and do not wait until they are gone."""
        by_namespace: dict[str, list[str]] = {}
        for number in numbers:
            namespace, name = self.place(number)
            self._declare(number, None)
            self._grants.pop(number)
            by_namespace.setdefault(namespace, []).append(name)
        for namespace, names in by_namespace.items():
            self.storage.world.kubectl.run(
                "delete", "fsb", *names, f"--namespace={namespace}", "--wait=false"
            )

    def bindings(self) -> list[Json]:
        """Return every binding of the cluster."""
        text = self.storage.world.kubectl.run("get", "fsb", "--all-namespaces", "-o=json")
        found: list[Json] = json.loads(text)["items"]
        return found

    def unready(self) -> list[tuple[str, str, str]]:
        """Return name, reason and message of each binding that is not Ready as it is now."""
        found = []
        for body in self.bindings():
            conditions = body.get("status", {}).get("conditions", [])
            ready: Json = next((c for c in conditions if c["type"] == "Ready"), {})
            seen = ready.get("observedGeneration") == body["metadata"]["generation"]
            if ready.get("status") != "True" or not seen:
                texts = ready.get("reason", ""), ready.get("message", "")
                found.append((body["metadata"]["name"], *texts))
        return found

    def undeclared(self, change: Change) -> str | None:
        """Tell what is wrong with a change under our prefix; None where it was declared by then."""
        history = self.declared.get(change.name, [])
        if any(each.policy == change.policy and each.time <= change.time for each in history):
            return None
        return f"{change.time} {change.name}: {change.policy}; declared: {history}"

    def steps_back(self, changes: Iterable[Change]) -> list[float]:
        """Return for how many seconds each policy was what had been replaced already."""
        found: list[float] = []
        newest: dict[str, int] = {}
        since: dict[str, dt.datetime] = {}
        for change in changes:
            history = self.declared.get(change.name, [])
            fitting = [
                number for number, each in enumerate(history) if each.policy == change.policy
            ]
            number = max(fitting, default=-1)
            if number < newest.get(change.name, -1):
                since.setdefault(change.name, change.time)
            elif (began := since.pop(change.name, None)) is not None:
                found.append((change.time - began).total_seconds())
            newest[change.name] = max(number, newest.get(change.name, -1))
        assert not since, f"still as they were before: {since}"
        return found

    def _declare(self, number: int, policy: Json | None) -> None:
        now = Declaration(dt.datetime.now(dt.UTC), policy)
        self.declared.setdefault(self.policy_name(number), []).append(now)

    def _compile(self, body: Json) -> Json:
        binding = parse_binding(body, ours=False)
        namespace, name = binding.meta.namespace, binding.meta.name
        identity = Identity(self._issuer, namespace, binding.spec.service_account_name)
        return document(
            compile_policy(
                policy_name(self._issuer, namespace, name),
                render_principal(identity),
                binding.spec.grants,
            )
        )

    @property
    def _issuer(self) -> Issuer:
        return Issuer(self.storage.world.plane.issuer)


def foreign(storage: Storage) -> dict[str, Any]:
    """Return policies of others, by name: some have names that look like ours."""
    prefix, stranger = storage.prefix, policy_name(Issuer("https://oidc.example/id/2"), "a", "b")
    names = ("by-hand", stranger, prefix.rstrip("-"), f"{prefix[:-1]}x-a", f"x{prefix}a")
    statement = {
        "name": "of others",
        "effect": "Allow",
        "actions": ["s3:PutObject", "s3:GetObject", "s3:GetObject"],
        "resources": ["theirs/*", "theirs"],
        "principals": ["coreweave/somebody"],
    }
    return {
        name: {"version": "v1alpha1", "name": name, "statements": [statement]} for name in names
    }
