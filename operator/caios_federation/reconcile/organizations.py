"""CoreWeave as each StorageFederation reaches it: the API with its token, and the policies there.

Kept from one reconciliation to the next, and made anew when the federation says something else.
"""

import base64
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

from caios_federation.api import vocabulary as words
from caios_federation.api.federation import Federation
from caios_federation.clients import errors
from caios_federation.clients.coreweave import CoreWeave, Organization
from caios_federation.clients.kubernetes import SECRET, KubernetesClient
from caios_federation.core.naming import policy_prefix
from caios_federation.core.principal import Issuer
from caios_federation.reconcile.snapshot import Place, PolicySnapshot, Written

_TOKEN_SECONDS: Final = 60.0
"""How long a token is used before its Secret is read again."""


class TokenMissing(errors.Terminal):
    """There is no API token where the federation says there is one.

    No NotFound: to who removes a policy, that says that the policy is gone.
    """


class TokenUnreadable(errors.Retryable):
    """The API server does not tell the API token: it is in trouble, or does not know us.

    No Unavailable and no Unauthenticated: those would be taken for what CoreWeave says.
    """


class ApiToken:
    """The API token in a Secret of the operator's namespace."""

    def __init__(
        self,
        client: KubernetesClient,
        namespace: str,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._clock = clock
        self._held: tuple[float, SecretStr] | None = None

    async def __call__(self) -> SecretStr:
        """Return the token. Raises TokenMissing, and TokenUnreadable."""
        if self._held is None or self._clock() - self._held[0] >= _TOKEN_SECONDS:
            self._held = None
            self._held = (self._clock(), await self._read())
        return self._held[1]

    def forget(self) -> None:
        """Have the Secret read again for the next request."""
        self._held = None

    async def _read(self) -> SecretStr:
        where = f"Secret {self._namespace}/{self._name}"
        try:
            secret = await self._client.read(SECRET, self._namespace, self._name)
        except errors.NotFound:
            raise TokenMissing(f"{where} does not exist") from None
        except errors.PermissionDenied:
            raise TokenMissing(f"{where} may not be read by the operator") from None
        except errors.ClientError as error:
            asked = error.retry_after_seconds if isinstance(error, errors.Retryable) else None
            raise TokenUnreadable(
                f"{where} cannot be read: {error}", retry_after_seconds=asked
            ) from error
        encoded = (secret.get("data") or {}).get(words.API_TOKEN_KEY)
        if not encoded:
            raise TokenMissing(f"{where} has no key {words.API_TOKEN_KEY!r}")
        try:
            token = base64.b64decode(encoded).decode("ascii").strip()
        except ValueError:  # no base64, or no ASCII
            token = ""
        if not token or not token.isprintable():
            # `from None`, and nothing of it in the text: it is a secret, however it looks.
            raise TokenMissing(f"{where}: key {words.API_TOKEN_KEY!r} is empty or not plain text")
        return SecretStr(token)


@dataclass(frozen=True, slots=True)
class Remote:
    """What belongs to one federation at CoreWeave."""

    token: ApiToken
    api: Organization
    policies: PolicySnapshot


class Organizations:
    """The remote side of every federation that names an API token."""

    def __init__(
        self,
        coreweave: CoreWeave,
        client: KubernetesClient,
        namespace: str,
        written: Written = lambda _operation, _result: None,
    ) -> None:
        self._coreweave = coreweave
        self._written = written
        self._client = client
        self._namespace = namespace
        self._remotes: dict[str, tuple[object, Remote]] = {}
        self._places = weakref.WeakValueDictionary[object, Place]()

    def of(self, federation: Federation, issuer: Issuer) -> Remote | None:
        """Return the remote side of `federation`; None where it names no API token."""
        spec, name = federation.spec, federation.meta.name
        if spec.api_token_secret_name is None:
            self._remotes.pop(name, None)
            return None
        reached_by = (
            federation.meta.uid,
            spec.endpoints.api,
            spec.organization_id,
            spec.api_token_secret_name,
            issuer,
        )
        known = self._remotes.get(name)
        if known is None or known[0] != reached_by:
            token = ApiToken(self._client, self._namespace, spec.api_token_secret_name)
            api = self._coreweave.organization(spec.endpoints.api, token, spec.organization_id)
            prefix = policy_prefix(issuer)
            where = spec.endpoints.api, spec.organization_id, prefix
            place = self._places.setdefault(where, Place())
            policies = PolicySnapshot(api, prefix, place=place, written=self._written)
            known = reached_by, Remote(token, api, policies)
            self._remotes[name] = known
        return known[1]

    def forget(self, name: str) -> None:
        """Let go of what belongs to the federation `name`, which is gone: a token, too."""
        self._remotes.pop(name, None)

    def expire(self) -> None:
        """Have every federation's policies listed anew by whoever asks next: once a resync."""
        for _, remote in self._remotes.values():
            remote.policies.expire()
