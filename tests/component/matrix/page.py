"""The matrix as docs/reference/access-levels.md has it: that page is the specification."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import yaml

from meta.pages import rows

T = TypeVar("T")
PAGE: Final = "reference/access-levels.md"
OBJECTS: Final = "Operation on an object"
BUCKETS: Final = "Operation on a bucket"
LISTINGS: Final = "Operation that lists"
LIST_BUCKETS: Final = "ListBuckets"
WHOLE: Final = "buckets: [models]"
PREFIX: Final = "prefixes: [logs/]"
EVERY_BUCKET: Final = 'buckets: ["*"]'
"""Extents of a grant."""

Matrix = dict[str, bool]
"""Whether an operation took place, by place, operation, and which end of a copy the place is."""

_ALLOWED: Final = {"allowed": True, "denied": False}
_INSIDE: Final = {"inside": True, "outside": False}
_YES: Final = {"yes": True, "no": False}
_OPERATION: Final = re.compile(r"`([A-Z]\w+)`( (?:of a version|of versions|with tags))?")


@dataclass(frozen=True)
class Example:
    """A Custom grant of the page, and the operations that it allows."""

    actions: frozenset[str]
    prefixes: bool
    operations: frozenset[str]

    def __str__(self) -> str:
        return ",".join(sorted(self.actions)) + (",prefixes" if self.prefixes else "")


def on_objects() -> frozenset[str]:
    """Return the operations on objects; all others but ListBuckets are on buckets."""
    return frozenset(_columns(OBJECTS, _ALLOWED)["FullControl"])


def inside(level: str, *, prefixes: bool, lists: bool) -> Mapping[str, bool]:
    """Return whether each operation is allowed inside a grant, ListBuckets left out."""
    narrowed = f"{level} with prefixes"
    buckets = _columns(BUCKETS, _ALLOWED)
    listings = _columns(LISTINGS, _ALLOWED)[level]
    return {
        **_columns(OBJECTS, _ALLOWED)[level],
        **buckets[narrowed if prefixes and narrowed in buckets else level],
        **{operation: lists and allowed for operation, allowed in listings.items()},
    }


def extents() -> Mapping[str, Mapping[str, bool]]:
    """Return whether each place is inside, by extent of the grant."""
    return _columns("Where", _INSIDE)


def fields_of(extent: str) -> dict[str, Any]:
    """Return the fields of a grant of this extent."""
    return {"buckets": ["models"], **yaml.safe_load(extent)}


def grant(access: str, extent: str, **fields: object) -> dict[str, Any]:
    """Return a grant of this extent."""
    return {"name": "data", "access": access, **fields_of(extent), **fields}


def documented(
    inside: Mapping[str, bool], places: Mapping[str, bool], *, list_buckets: bool = False
) -> Matrix:
    """Return what is to happen everywhere, of what is allowed inside and of what is inside."""
    of_objects = on_objects()
    matrix = {
        f"{place}: {operation}{end}": is_inside and allowed
        for place, is_inside in places.items()
        for operation, allowed in inside.items()
        if ("/" in place) == (operation in of_objects)
        for end in ((", from here", ", to here") if "Copy" in operation else ("",))
    }
    return {LIST_BUCKETS: list_buckets, **matrix}


def only(*operations: str) -> Mapping[str, bool]:
    """Return what is allowed where that is `operations` and nothing else."""
    return {name: name in operations for name in needs() if name != LIST_BUCKETS}


def defaults() -> Mapping[tuple[str, bool], str]:
    """Return the listing that is meant where none is said, by level and whether it has prefixes."""
    columns = _columns("`listing` of", {"WholeBucket": "WholeBucket", "None": "None"})
    return {
        (level, column == "with prefixes"): listing
        for column, levels in columns.items()
        for level, listing in levels.items()
    }


def needs() -> Mapping[str, frozenset[str]]:
    """Return the actions that each operation needs."""
    return {_plain(row["Operation"]): _codes(row["Actions"]) for row in rows(PAGE, "Operation")}


def examples() -> list[Example]:
    """Return the Custom grants of the page."""
    return [
        Example(
            _codes(actions),
            _YES[prefixes],
            frozenset("".join(found) for found in _OPERATION.findall(allows)),
        )
        for actions, prefixes, allows in (row.values() for row in rows(PAGE, "Actions of a grant"))
    ]


def _columns(first: str, meanings: Mapping[str, T]) -> dict[str, dict[str, T]]:
    """Return the cells by column and row, of the table whose first column is called `first`."""
    table: dict[str, dict[str, T]] = {}
    for row in rows(PAGE, first):
        name, *_ = row.values()
        for column, cell in list(row.items())[1:]:
            cells = table.setdefault(_plain(column), {})
            assert _plain(name) not in cells, f"two rows {name}"
            cells[_plain(name)] = meanings[_plain(cell)]
    return table


def _codes(cell: str) -> frozenset[str]:
    return frozenset(re.findall(r"`([^`]+)`", cell))


def _plain(cell: str) -> str:
    return cell.replace("`", "")
