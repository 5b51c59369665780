"""Comparing what should be with what is."""

from collections.abc import Collection, Mapping
from typing import Any


def contains(
    actual: Any,  # noqa: ANN401  # any JSON
    wanted: Any,  # noqa: ANN401  # any JSON
    *,
    exactly: Collection[str] = (),
) -> bool:
    """Tell whether `actual` says all that `wanted` says, whatever else it says beside.

    Lists must have the same length, since a list is a value as a whole. Values of the keys
    `exactly`, at any depth, must be equal: in a selector, what is added takes something away.

    >>> contains({"a": 1, "b": [{"c": 2, "d": 3}]}, {"b": [{"c": 2}]})
    True
    >>> contains({"a": 1, "b": [{"c": 2, "d": 3}]}, {"b": [{"c": 2}]}, exactly={"b"})
    False
    """
    if isinstance(wanted, Mapping):
        return isinstance(actual, Mapping) and all(
            key in actual
            and (
                bool(actual[key] == value)
                if key in exactly
                else contains(actual[key], value, exactly=exactly)
            )
            for key, value in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        return (
            isinstance(actual, list | tuple)
            and len(actual) == len(wanted)
            and all(
                contains(have, want, exactly=exactly)
                for have, want in zip(actual, wanted, strict=True)
            )
        )
    return bool(actual == wanted)
