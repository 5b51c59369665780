"""Policies that outlive their bindings on purpose: their names, in a ConfigMap of ours.

Without it a policy whose binding is gone would look like one that was left behind by accident.
"""

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

    async def names(self, *, fresh: bool = False) -> frozenset[str]:
        """Return the names on record; `fresh` ones are read now. Raises ClientError."""
        if self._names is None or fresh:
            try:
                body = await self._client.read(CONFIG_MAP, self._namespace, words.RETAINED_POLICIES)
            except errors.NotFound:
                body = {}
            self._names = frozenset(body.get(_DATA) or ())
        return self._names

    async def add(self, name: str, binding: str) -> None:
        """Put a policy on record, before its binding goes. Raises ClientError."""
        try:
            await self._merge({name: binding})
        except errors.NotFound:
            await self._client.create(
                CONFIG_MAP,
                {
                    "metadata": {
                        **self._metadata(),
                        "labels": {words.MANAGED_BY: words.MANAGER},
                    },
                    _DATA: {name: binding},
                },
            )
        if self._names is not None:
            self._names |= {name}

    async def discard(self, name: str) -> None:
        """Take a policy off the record: a binding has it again, or it is gone."""
        if name not in await self.names():
            return
        with suppress(errors.NotFound):  # somebody deleted the whole record
            await self._merge({name: None})
        self._names = await self.names() - {name}

    async def _merge(self, data: Mapping[str, Any]) -> None:
        await self._client.merge(CONFIG_MAP, {"metadata": self._metadata(), _DATA: data})

    def _metadata(self) -> dict[str, str]:
        return {"namespace": self._namespace, "name": words.RETAINED_POLICIES}
