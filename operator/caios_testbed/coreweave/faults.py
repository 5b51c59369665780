"""Trouble on demand: rules that make the emulator fail as real services do.

A rule names operations (`*` for all, `EnsureAccessPolicy`, `S3.*`), and what happens to them. The
first rule that fires wins. Random rules draw from one seeded generator, so a run can be repeated.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from caios_testbed.coreweave.errors import ApiError, Code
from caios_testbed.coreweave.evaluation import matches_glob
from caios_testbed.coreweave.settings import camel

BODIES = ("error", "garbage", "truncated", "echo-token", "empty")
STAGES = ("before", "after")


@dataclass(slots=True)
class Rule:
    """What happens to which requests. A rule with latency alone only slows them down."""

    operation: str = "*"
    """Which operations, `*` standing for any characters."""
    probability: float = 1.0
    """Share of matching requests that are hit."""
    count: int | None = None
    """How many are hit at most; `None` for no limit."""
    skip: int = 0
    """How many matching requests pass before the first hit."""
    status: int | None = None
    """HTTP status of the answer."""
    body: str = "error"
    """`error`: the usual envelope of the status. `garbage`: HTML. `truncated`: the first half of
    the real answer. `echo-token`: an error that repeats the request's token. `empty`."""
    stage: str = "before"
    """`before`: the operation does not take place. `after`: it does, and its answer is lost."""
    latency_seconds: float = 0.0
    """How long the answer is held back."""
    drop_connection: bool = False
    """Close the connection instead of answering."""
    retry_after_seconds: int | None = None
    """Value of the header Retry-After."""
    seen: int = 0
    """Matching requests so far; output only."""
    hits: int = 0
    """Requests hit so far; output only."""

    @property
    def answers(self) -> bool:
        """Whether the answer is replaced, not only delayed."""
        return self.status is not None or self.drop_connection or self.body != "error"

    def document(self) -> dict[str, Any]:
        """Return the rule as JSON."""
        return {camel(name): value for name, value in asdict(self).items()}


class Faults:
    """The rules in force."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self.seed = 0
        self._random = random.Random(0)  # noqa: S311  # repeatable on purpose

    def replace(self, document: object) -> None:
        """Put the rules of `{"seed": 0, "rules": [...]}` in place of the present ones.

        Raises ApiError with INVALID_ARGUMENT.
        """
        if not isinstance(document, dict) or not set(document) <= {"seed", "rules"}:
            raise _invalid("wanted an object with rules and, if you like, seed")
        seed, rules = document.get("seed", 0), document.get("rules", [])
        if not isinstance(seed, int) or not isinstance(rules, list):
            raise _invalid("seed must be a number, rules a list")
        self.rules = [parse_rule(rule, f"rules[{index}]") for index, rule in enumerate(rules)]
        self.seed = seed
        self._random = random.Random(seed)  # noqa: S311  # repeatable on purpose

    def clear(self) -> None:
        """Remove all rules."""
        self.replace({})

    def draw(self, operation: str) -> Rule | None:
        """Return the rule that hits this request, if one does, and count it."""
        for rule in self.rules:
            if not matches_glob(rule.operation, operation):
                continue
            rule.seen += 1
            if rule.seen <= rule.skip or (rule.count is not None and rule.hits >= rule.count):
                continue
            if self._random.random() < rule.probability:
                rule.hits += 1
                return rule
        return None

    def document(self) -> dict[str, Any]:
        """Return rules and counts as JSON."""
        return {"seed": self.seed, "rules": [rule.document() for rule in self.rules]}


def parse_rule(document: object, where: str) -> Rule:
    """Return the rule in `document` (camelCase). Raises ApiError with INVALID_ARGUMENT."""
    if not isinstance(document, Mapping):
        raise _invalid(f"{where}: must be an object")
    known = {camel(item.name): item.name for item in fields(Rule)}
    rule = Rule()
    for name, value in document.items():
        if name not in known:
            raise _invalid(f"{where}: unknown field {name}; known: {', '.join(known)}")
        if known[name] not in {"seen", "hits"}:
            _check(where, name, value)
            setattr(rule, known[name], value)
    if rule.body == "truncated":
        rule.stage = "after"
    return rule


def _check(where: str, name: str, value: object) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    whole = isinstance(value, int) and number
    good = {
        "operation": isinstance(value, str) and bool(value),
        "probability": number and 0 <= value <= 1,  # type: ignore[operator]
        "count": value is None or (whole and value >= 0),  # type: ignore[operator]
        "skip": whole and value >= 0,  # type: ignore[operator]
        "status": value is None or (whole and 200 <= value <= 599),  # type: ignore[operator]  # noqa: PLR2004  # HTTP
        "body": value in BODIES,
        "stage": value in STAGES,
        "latencySeconds": number and 0 <= value <= 600,  # type: ignore[operator]  # noqa: PLR2004  # sane
        "dropConnection": isinstance(value, bool),
        "retryAfterSeconds": value is None or (whole and value >= 0),  # type: ignore[operator]
    }[name]
    if not good:
        raise _invalid(f"{where}.{name}: {value!r} is not accepted")


def _invalid(message: str) -> ApiError:
    return ApiError(Code.INVALID_ARGUMENT, message)
