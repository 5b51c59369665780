"""Organization access policies: what is accepted, and which version is in force when.

Source: CoreWeave docs, organization policies and the API reference of EnsureAccessPolicy.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from caios_testbed.coreweave.errors import ApiError, Code

VERSION = "v1alpha1"
MEMORY = dt.timedelta(hours=1)
"""How long replaced policies are remembered: the longest propagation delay that makes sense."""
CAPACITY = 10_000
"""Changes kept in the history; older ones are dropped, so that a long-running emulator stays small.
"""
STATEMENT_FIELDS = ("name", "effect", "actions", "resources", "principals")


class Effect(StrEnum):
    """What a matching statement does."""

    ALLOW = "Allow"
    DENY = "Deny"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement; a request matches when an entry of each list does."""

    name: str
    effect: Effect
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    principals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """An organization access policy; its name is unique in the organization."""

    name: str
    statements: tuple[Statement, ...]
    version: str = VERSION

    def document(self) -> dict[str, Any]:
        """Return the JSON that the list operation shows."""
        return {
            "version": self.version,
            "name": self.name,
            "statements": [
                {
                    "name": statement.name,
                    "effect": str(statement.effect),
                    "actions": list(statement.actions),
                    "resources": list(statement.resources),
                    "principals": list(statement.principals),
                }
                for statement in self.statements
            ],
        }


@dataclass(frozen=True, slots=True)
class Change:
    """A policy that was written, or removed: `policy` is None then."""

    time: dt.datetime
    name: str
    policy: Policy | None

    def document(self) -> dict[str, Any]:
        """Return the change as JSON; `policy` is the whole policy, as it was stored."""
        return {
            "time": self.time.isoformat(),
            "name": self.name,
            "policy": None if self.policy is None else self.policy.document(),
        }


class PolicyStore:
    """The policies of the organization, with their recent past.

    A change counts only after the propagation delay, so the store remembers what each change
    replaced: `effective` undoes the changes that are younger than the moment asked for.
    """

    def __init__(self) -> None:
        self._current: dict[str, Policy] = {}
        self._changes: deque[tuple[dt.datetime, str, Policy | None]] = deque()
        self._history: deque[Change] = deque(maxlen=CAPACITY)

    @property
    def history(self) -> tuple[Change, ...]:
        """What was written and removed, in the order in which it was."""
        return tuple(self._history)

    @property
    def current(self) -> Mapping[str, Policy]:
        """What was written last, by name: what the list operation shows."""
        return self._current

    def effective(self, moment: dt.datetime) -> tuple[Policy, ...]:
        """Return the policies that had been written by `moment`, at most an hour back."""
        if not self._changes or self._changes[-1][0] <= moment:
            return tuple(self._current.values())
        policies = dict(self._current)
        for written, name, replaced in reversed(self._changes):
            if written <= moment:
                break
            policies.pop(name, None)
            if replaced is not None:
                policies[name] = replaced
        return tuple(policies.values())

    def ensure(self, policy: Policy, now: dt.datetime) -> None:
        """Create or replace the whole policy of that name."""
        self._remember(policy.name, now)
        self._current[policy.name] = policy
        self._history.append(Change(now, policy.name, policy))

    def delete(self, name: str, now: dt.datetime) -> None:
        """Remove a policy. Raises ApiError with NOT_FOUND where there is none of that name."""
        if name not in self._current:
            raise ApiError(Code.NOT_FOUND, f"access policy {name} not found")
        self._remember(name, now)
        del self._current[name]
        self._history.append(Change(now, name, None))

    def clear(self) -> None:
        """Forget everything."""
        self._current.clear()
        self._changes.clear()
        self._history.clear()

    def _remember(self, name: str, now: dt.datetime) -> None:
        while self._changes and self._changes[0][0] < now - MEMORY:
            self._changes.popleft()
        self._changes.append((now, name, self._current.get(name)))


def parse_policy(document: object) -> Policy:
    """Return the policy in the value of `policy` of an EnsureAccessPolicy request.

    Raises ApiError with INVALID_ARGUMENT that names the field at fault. The texts are ours.
    """
    policy = _object(document, "policy", ("version", "name", "statements"))
    if policy.get("version") != VERSION:
        raise _invalid("policy.version", f"must be {VERSION}")
    name = _text(policy.get("name"), "policy.name")
    statements = policy.get("statements")
    if not isinstance(statements, list) or not statements:
        raise _invalid("policy.statements", "must be a list with one statement or more")
    parsed = (
        _parse_statement(statement, f"policy.statements[{index}]")
        for index, statement in enumerate(statements)
    )
    return Policy(name, tuple(parsed))


def _parse_statement(document: object, where: str) -> Statement:
    statement = _object(document, where, STATEMENT_FIELDS)
    effect = statement.get("effect")
    if effect not in {"Allow", "Deny"}:
        raise _invalid(f"{where}.effect", "must be exactly Allow or Deny")
    principals = _texts(statement.get("principals"), f"{where}.principals")
    for principal in principals:
        if principal.startswith("arn:"):
            raise _invalid(
                f"{where}.principals",
                f"{principal} is an ARN; organization policies take the short form, "
                "for example role/<issuer>:<subject>",
            )
    return Statement(
        name=_text(statement.get("name"), f"{where}.name"),
        effect=Effect(effect),
        actions=_texts(statement.get("actions"), f"{where}.actions"),
        resources=_texts(statement.get("resources"), f"{where}.resources"),
        principals=principals,
    )


def _object(document: object, where: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(document, dict):
        raise _invalid(where, "must be an object; it is required")
    # Whether the service refuses or drops unknown fields is not documented. Refusing is the safe
    # reading: a dropped `conditions` would grant more than its author wrote.
    unknown = sorted(set(document) - set(known))
    if unknown:
        raise _invalid(where, f"unknown field {unknown[0]}; known: {', '.join(known)}")
    return document


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise _invalid(where, "must be a string that is not empty")
    return value


def _texts(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise _invalid(where, "must be a list with one string or more")
    return tuple(_text(item, f"{where}[{index}]") for index, item in enumerate(value))


def _invalid(where: str, message: str) -> ApiError:
    return ApiError(Code.INVALID_ARGUMENT, f"{where}: {message}")
