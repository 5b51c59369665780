"""Access keys: how they are made, how long they live, how they end."""

from __future__ import annotations

import datetime as dt
import secrets
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from caios_testbed.coreweave.errors import ApiError, Code

PERMANENT = "1970-01-01T00:00:00Z"
"""The expiry that the API shows for a key that has none."""


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key pair and whose it is. The secret is not part of its `repr`."""

    access_key_id: str
    secret: str = field(repr=False)
    token: str = field(repr=False)
    principal: str
    issued_at: dt.datetime
    expires_at: dt.datetime | None
    attributes: Mapping[str, str]
    revoked: bool = False

    def expired(self, now: dt.datetime) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and now >= self.expires_at

    @property
    def expiry(self) -> str:
        """The expiry as the API writes it."""
        return PERMANENT if self.expires_at is None else timestamp(self.expires_at)

    def info(self, now: dt.datetime) -> dict[str, Any]:
        """Return what listing shows: everything but secret and token. The names are ours."""
        status = "DELETED" if self.revoked else "EXPIRED" if self.expired(now) else "ACTIVE"
        return {
            "accessKeyId": self.access_key_id,
            "principalName": self.principal,
            "status": status,
            "createdAt": timestamp(self.issued_at),
            "expiry": self.expiry,
            "attributes": dict(self.attributes),
        }


class KeyStore:
    """Every key that was issued since the start or the last reset."""

    def __init__(self) -> None:
        self._keys: dict[str, AccessKey] = {}

    def __iter__(self) -> Iterator[AccessKey]:
        return iter(self._keys.values())

    def issue(
        self,
        principal: str,
        now: dt.datetime,
        lifetime_seconds: int | None,
        *,
        attributes: Mapping[str, str] | None = None,
        with_token: bool = False,
    ) -> AccessKey:
        """Make and keep a key; `lifetime_seconds` of `None` makes one without an end."""
        # Whole seconds, rounded down, as the API shows them: the key ends when it says so.
        start = now.replace(microsecond=0)
        key = AccessKey(
            access_key_id="CW" + _random(string.ascii_uppercase + string.digits, 14),
            secret="cwo" + _random(string.ascii_letters + string.digits, 40),
            token=_random(string.ascii_letters + string.digits, 64) if with_token else "",
            principal=principal,
            issued_at=now,
            expires_at=(
                None if lifetime_seconds is None else start + dt.timedelta(seconds=lifetime_seconds)
            ),
            attributes=attributes or {},
        )
        self._keys[key.access_key_id] = key
        return key

    def find(self, access_key_id: str) -> AccessKey | None:
        """Return the key of that id, whatever its state."""
        return self._keys.get(access_key_id)

    def get(self, access_key_id: str) -> AccessKey:
        """Return the key of that id. Raises ApiError with NOT_FOUND."""
        key = self.find(access_key_id)
        if key is None:
            raise ApiError(Code.NOT_FOUND, f"access key {access_key_id} not found")
        return key

    def revoke(self, access_key_id: str) -> None:
        """End one key. Raises ApiError with NOT_FOUND."""
        self._keys[access_key_id] = replace(self.get(access_key_id), revoked=True)

    def revoke_principal(self, principal: str) -> None:
        """End every key of a principal; none is fine."""
        for key in [key for key in self if key.principal == principal]:
            self.revoke(key.access_key_id)

    def clear(self) -> None:
        """Forget everything."""
        self._keys.clear()


def timestamp(moment: dt.datetime) -> str:
    """Return RFC 3339 with whole seconds, in UTC."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _random(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))
