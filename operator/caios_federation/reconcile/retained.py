"""Policies that outlive their bindings on purpose: their names, in a ConfigMap of ours.

Without it a policy whose binding is gone would look like one that was left behind by accident.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from caios_federation.api import vocabulary as words
from caios_federation.clients import errors
from caios_federation.clients.kubernetes import CONFIG_MAP, KubernetesClient

_DATA: Final = "data"


class Retained:
    """The record of retained policies: name -> the binding that it was of."""

    def __init__(self, client: KubernetesClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._names: frozenset[str] | None = None
        self._turn = asyncio.Lock()
        """A name that is added while the record is read must not be lost again."""

    def known(self) -> frozenset[str]:
        """Return the names on record as it was last read, and as we changed it since."""
        return self._names or frozenset()

    async def read(self) -> None:
        """Read the record, which people may edit. Raises ClientError."""
        async with self._turn:
            await self._read()

    async def add(self, name: str, binding: str) -> None:
        """Put a policy on record, before its binding goes. Raises ClientError."""
        async with self._turn:
            try:
                await self._merge({name: binding})
            except errors.NotFound:
                metadata = {**self._metadata(), "labels": {words.MANAGED_BY: words.MANAGER}}
                await self._client.create(
                    CONFIG_MAP, {"metadata": metadata, _DATA: {name: binding}}
                )
            if self._names is not None:
                self._names |= {name}

    async def discard(self, name: str) -> None:
        """Take a policy off the record: a binding has it again. Raises ClientError."""
        async with self._turn:
            if self._names is None:
                await self._read()
            if name not in self.known():
                return
            with suppress(errors.NotFound):  # somebody deleted the whole record
                await self._merge({name: None})
            self._names = self.known() - {name}

    async def _read(self) -> None:
        try:
            body = await self._client.read(CONFIG_MAP, self._namespace, words.RETAINED_POLICIES)
        except errors.NotFound:
            body = {}
        self._names = frozenset(body.get(_DATA) or ())

    async def _merge(self, data: Mapping[str, Any]) -> None:
        await self._client.merge(CONFIG_MAP, {"metadata": self._metadata(), _DATA: data})

    def _metadata(self) -> dict[str, str]:
        return {"namespace": self._namespace, "name": words.RETAINED_POLICIES}
