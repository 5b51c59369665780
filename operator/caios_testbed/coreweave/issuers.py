"""Where issuers publish their keys, and what was fetched from there.

An issuer is read as OpenID Connect discovery says, unless the testbed was told another way: a
cluster's API server that is not reachable by its issuer's name, or a file with its key set.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from caios_testbed.coreweave.configurations import issuer_url_problem

DISCOVERY = "/.well-known/openid-configuration"
TIMEOUT = aiohttp.ClientTimeout(total=5)
"""A token cannot be judged without the keys, and clients of the exchange wait 2 s per try."""


@dataclass(frozen=True, slots=True)
class IssuerSource:
    """How one issuer is really reached. Exactly one of `base_url`, `file` and `keys` is set."""

    base_url: str = ""
    """Where discovery and keys are served; a `jwks_uri` elsewhere is moved to this host."""
    ca_file: Path | None = None
    """What to trust at `base_url`; the system's roots when absent."""
    file: Path | None = None
    """A JSON Web Key Set on disk, read anew when a key is unknown."""
    keys: Mapping[str, Any] | None = None
    """A JSON Web Key Set."""


class IssuerUnavailableError(Exception):
    """The keys of an issuer could not be had; the message says why."""


@dataclass(slots=True)
class _Cached:
    keys: KeySet
    fetched_at: float


class Issuers:
    """Key sets by issuer, cached; one fetch at a time per issuer."""

    def __init__(
        self,
        sources: Mapping[str, IssuerSource],
        lifetimes: Callable[[], tuple[float, float]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take overrides by issuer, and a function that gives cache lifetime and refetch pause."""
        self.sources = dict(sources)
        self._lifetimes = lifetimes
        self._monotonic = monotonic
        self._cache: dict[str, _Cached] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def keys(self, issuer: str, kid: str | None) -> KeySet:
        """Return the key set of an issuer, fetched again when it lacks `kid`.

        Raises IssuerUnavailableError.
        """
        lifetime, pause = self._lifetimes()
        async with self._locks.setdefault(issuer, asyncio.Lock()):
            cached = self._cache.get(issuer)
            now = self._monotonic()
            if cached is not None:
                age = now - cached.fetched_at
                known = kid is None or any(key.kid == kid for key in cached.keys)
                if age < lifetime and (known or age < pause):
                    return cached.keys
            fetched = await self._fetch(issuer)
            self._cache[issuer] = _Cached(fetched, now)
            return fetched

    def clear(self) -> None:
        """Forget what was fetched; the sources stay."""
        self._cache.clear()

    async def _fetch(self, issuer: str) -> KeySet:
        source = self.sources.get(issuer, IssuerSource())
        try:
            if source.keys is not None:
                document = dict(source.keys)
            elif source.file is not None:
                document = json.loads(await asyncio.to_thread(source.file.read_bytes))
            else:
                document = await _discover(issuer, source)
            return KeySet.import_key_set(document)  # type: ignore[arg-type]
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise IssuerUnavailableError(f"{issuer}: {type(error).__name__}: {error}") from error
        except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise IssuerUnavailableError(f"{issuer}: no usable key set: {error}") from error


async def _discover(issuer: str, source: IssuerSource) -> dict[str, Any]:
    context = ssl.create_default_context(cafile=source.ca_file)
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT) as session:
        base = (source.base_url or issuer).removesuffix("/")
        configuration = await _read(session, base + DISCOVERY)
        if configuration.get("issuer") != issuer:
            raise ValueError(f"discovery names another issuer: {configuration.get('issuer')}")
        jwks_uri = configuration["jwks_uri"]
        if source.base_url:
            there, here = urlsplit(jwks_uri), urlsplit(source.base_url)
            jwks_uri = there._replace(scheme=here.scheme, netloc=here.netloc).geturl()
        elif problem := issuer_url_problem(jwks_uri):
            raise ValueError(f"jwks_uri {problem}")
        return await _read(session, jwks_uri)


async def _read(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with session.get(url, allow_redirects=False) as response:
        if response.status != 200:  # noqa: PLR2004  # HTTP's own number
            raise ValueError(f"{url} answered {response.status}")
        document = await response.json(content_type=None)
        if not isinstance(document, dict):
            raise TypeError(f"{url} is not a JSON object")
        return document
