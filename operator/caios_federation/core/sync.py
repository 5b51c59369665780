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
    """Return a digest that two policies share only when they allow the same.

    Statements have no order and their lists are sets; a statement's name means nothing
    (facts: Organization access policies, "compare as sets"). The same rights split into other
    statements have another digest: then ours are written once more.
    """
    version, statements = document.get("version"), document.get("statements")
    if not isinstance(version, str) or not isinstance(statements, list):
        return UNREADABLE
    try:
        canonical = sorted(json.dumps(_statement(entry)) for entry in statements)
    except (KeyError, TypeError):
        return UNREADABLE
    text = json.dumps([version, *dict.fromkeys(canonical)])
    return hashlib.sha256(text.encode()).hexdigest()


def _statement(entry: Mapping[str, Any]) -> list[Any]:
    effect, *lists = (entry[key] for key in ("effect", "actions", "resources", "principals"))
    if not isinstance(effect, str) or not all(map(_is_list_of_texts, lists)):
        raise TypeError("a statement has an effect and three lists of texts")
    return [effect, *(sorted(set(each)) for each in lists)]


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
