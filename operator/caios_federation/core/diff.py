"""Comparing what should be with what is."""

from collections.abc import Mapping
from typing import Any


def contains(actual: Any, wanted: Any) -> bool:  # noqa: ANN401  # any JSON
    """Tell whether `actual` says all that `wanted` says, whatever defaults were added to it.

    Lists must have the same length, since a list is a value as a whole.

    >>> contains({"a": 1, "b": [{"c": 2, "d": 3}]}, {"b": [{"c": 2}]})
    True
    """
    if isinstance(wanted, Mapping):
        return isinstance(actual, Mapping) and all(
            key in actual and contains(actual[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        return (
            isinstance(actual, list | tuple)
            and len(actual) == len(wanted)
            and all(map(contains, actual, wanted))
        )
    return bool(actual == wanted)
