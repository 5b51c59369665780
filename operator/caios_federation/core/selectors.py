"""Label selectors, as Kubernetes takes them.

Source: apimachinery, `LabelSelectorAsSelector` and `labels.NewRequirement`: an empty selector
matches everything, none matches nothing, and one that cannot be converted is an error, which here
matches nothing.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

_NAME: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_DOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_DOMAIN_LIMIT: Final = 253
_VALUE: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_FIELDS: Final = frozenset({"matchLabels", "matchExpressions"})
_REQUIREMENT_FIELDS: Final = frozenset({"key", "operator", "values"})


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Tell whether `labels` meet all that `selector` requires; malformed, it matches nothing."""
    if selector is None or not selector.keys() <= _FIELDS:
        return False
    wanted = _or_empty(selector.get("matchLabels"), {})
    requirements = _or_empty(selector.get("matchExpressions"), [])
    return (
        isinstance(wanted, Mapping)
        and isinstance(requirements, list)
        and all(_is_key(key) and _is_value(value) for key, value in wanted.items())
        and all(map(_is_requirement, requirements))
        and all(labels.get(key) == value for key, value in wanted.items())
        and all(_meets(requirement, labels) for requirement in requirements)
    )


def _meets(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = requirement["key"], requirement.get("values") or ()
    match requirement["operator"]:
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return key not in labels or labels[key] not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def _is_requirement(requirement: object) -> bool:
    """Tell whether a requirement can be understood: the four operators, values with two of them."""
    if not isinstance(requirement, Mapping) or not requirement.keys() <= _REQUIREMENT_FIELDS:
        return False
    values = _or_empty(requirement.get("values"), [])
    if not isinstance(values, list) or not all(map(_is_value, values)):
        return False
    match requirement.get("operator"):
        case "In" | "NotIn":
            return _is_key(requirement.get("key")) and bool(values)
        case "Exists" | "DoesNotExist":
            return _is_key(requirement.get("key")) and not values
        case _:
            return False


def _is_key(key: object) -> bool:
    if not isinstance(key, str):
        return False
    domain, slash, name = key.rpartition("/")
    plain = not slash or (len(domain) <= _DOMAIN_LIMIT and _DOMAIN.fullmatch(domain) is not None)
    return plain and _NAME.fullmatch(name) is not None


def _is_value(value: object) -> bool:
    return isinstance(value, str) and _VALUE.fullmatch(value) is not None


def _or_empty(value: object, empty: object) -> object:
    return empty if value is None else value
