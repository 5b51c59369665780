"""An S3 request as it came over the wire, before anything is believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

from multidict import CIMultiDictProxy

SAFE = "-_.~"
"""What the AWS signature leaves unencoded, beside letters and digits."""


@dataclass(frozen=True, slots=True)
class Wire:
    """Method, place and headers; path and query percent-encoded the way that AWS signs them."""

    method: str
    scheme: str
    host: str
    path: str
    query: tuple[tuple[str, str], ...] = field(repr=False)
    """Decoded, in order; `repr` leaves it out because presigned URLs carry credentials in it."""
    headers: CIMultiDictProxy[str] = field(repr=False)

    @property
    def key(self) -> str:
        """The object's key, decoded; empty for the bucket itself."""
        return unquote(self.path.removeprefix("/"))

    def parameters(self) -> Mapping[str, str]:
        """Return the query; of a repeated name the last counts."""
        return dict(self.query)


def encoded_query(query: tuple[tuple[str, str], ...]) -> str:
    """Return a query string, encoded as AWS signs it."""
    return "&".join(f"{quote(name, safe=SAFE)}={quote(value, safe=SAFE)}" for name, value in query)


def split_target(target: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return path and query of a request target, in origin form or in absolute form.

    Clients of an HTTP proxy send the whole URL. The path is encoded anew, so that differently
    spelt but equal paths have one signature; in a query `+` is a plus sign, as for AWS.
    """
    if not target.startswith("/"):
        parts = urlsplit(target)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    path, _, query = target.partition("?")
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return (
        quote(unquote_to_bytes(path), safe="/" + SAFE),
        tuple((unquote(name), unquote(value)) for name, _, value in pairs),
    )
