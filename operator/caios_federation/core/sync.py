"""What has to change at CoreWeave so that it has what is declared here."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from caios_federation.api.objects import Json

UNREADABLE: Final = ""
"""Meaning of a policy that has no shape we know: it equals none of ours."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Names of what is to be written, and of what is to be removed."""

    ensure: frozenset[str] = frozenset()
    delete: frozenset[str] = frozenset()


def changes(
    desired: Mapping[str, str], current: Mapping[str, str], *, owned: Callable[[str], bool]
) -> Changes:
    """Return what makes `current` equal to `desired` on the names that are `owned`.

    Both map names to meanings, see `meaning_of`. What is not owned is never in the answer.
    """
    return Changes(
        ensure=frozenset(n for n, text in desired.items() if owned(n) and current.get(n) != text),
        delete=frozenset(n for n in current if owned(n) and n not in desired),
    )


def meaning_of(document: Json) -> str:
    """Return a digest that two policies share exactly when they allow the same.

    Statements have no order and their lists are sets; a statement's name means nothing
    (facts: Organization access policies, "compare as sets").
    """
    statements = document.get("statements")
    if not isinstance(statements, list):
        return UNREADABLE
    try:
        canonical = sorted(json.dumps(_statement(entry)) for entry in statements)
    except (KeyError, TypeError):
        return UNREADABLE
    text = json.dumps([document.get("version"), *dict.fromkeys(canonical)])
    return hashlib.sha256(text.encode()).hexdigest()


def _statement(entry: Mapping[str, Any]) -> list[Any]:
    lists = (entry["actions"], entry["resources"], entry["principals"])
    if not all(isinstance(item, str) for each in lists for item in each):
        raise TypeError("a statement's lists hold texts")
    return [str(entry["effect"]), *(sorted(set(each)) for each in lists)]
