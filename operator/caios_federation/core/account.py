"""What the annotations of a ServiceAccount say."""

import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, Final

from caios_federation.api import vocabulary as words
from caios_federation.core.text import shown

Annotations = Mapping[str, str]
NO_ANNOTATIONS: Annotations = {}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_AUDIENCE: Final = 1024
_LONGEST_NAME: Final = 253
"""Characters, as in the CRDs: what is longer can stand in no binding and in no status."""


class Wish(Enum):
    """What a ServiceAccount asks for."""

    NOTHING = auto()
    INJECTION = auto()
    NO_INJECTION = auto()
    UNINTELLIGIBLE = auto()
    """An `inject` annotation that is neither "true" nor "false": not injected, and said so."""


def relevant(annotations: Mapping[str, Any] | None) -> Annotations:
    """Return those of `annotations` that we read; for most ServiceAccounts that is nothing."""
    if not annotations:
        return NO_ANNOTATIONS
    inputs = words.SERVICE_ACCOUNT_INPUTS
    return {
        key: text for key, text in annotations.items() if key in inputs and isinstance(text, str)
    } or NO_ANNOTATIONS


def wish_of(annotations: Annotations) -> Wish:
    """Tell what `annotations` ask for. An empty annotation counts as absent."""
    match annotations.get(words.INJECT) or None:
        case None:
            return Wish.INJECTION if audience_of(annotations) else Wish.NOTHING
        case words.TRUE:
            return Wish.INJECTION
        case words.FALSE:
            return Wish.NO_INJECTION
        case _:
            return Wish.UNINTELLIGIBLE


def audience_of(annotations: Annotations) -> str | None:
    """Return the custom audience, or None where there is none, or none that can be one."""
    text = annotations.get(words.AUDIENCE) or ""
    return text if text.strip() and audience_problem(annotations) is None else None


def audience_problem(annotations: Annotations) -> str | None:
    """Say what is wrong with the audience; the CRD refuses the same of a binding's."""
    text = annotations.get(words.AUDIENCE)
    if not text:
        return None
    place = f"annotation {words.AUDIENCE} of the ServiceAccount"
    if len(text) > _LONGEST_AUDIENCE:
        return f"{place} is longer than {_LONGEST_AUDIENCE} characters; ignored"
    return f"{place} contains control characters; ignored" if _CONTROL.search(text) else None


def federation_problem(annotations: Annotations) -> str | None:
    """Say that the annotation names what no StorageFederation can be called, if it does."""
    text = annotations.get(words.FEDERATION)
    if not text:
        return None
    if len(text) <= _LONGEST_NAME and _NAME.fullmatch(text):
        return None
    return f"annotation {words.FEDERATION} is {shown(text)}, not the name of a StorageFederation"
