"""OIDC configurations: which issuers an organization trusts, with which audience.

Messages, validators and update rules follow the public source of CoreWeave's Terraform provider;
the exact texts of the service are not known.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from caios_testbed.coreweave.errors import ApiError, Code
from caios_testbed.coreweave.keys import timestamp

NAME = re.compile(r"[a-zA-Z0-9_-]{1,255}")
MASKABLE = ("name", "issuer_url", "audience", "description", "active")
LONGEST_URL = 1024
LONGEST_AUDIENCE = 1024
LONGEST_DESCRIPTION = 1024


@dataclass(frozen=True, slots=True)
class Configuration:
    """One trusted (issuer, audience) pair."""

    uid: str
    org_uid: str
    name: str
    issuer_url: str
    audience: str
    description: str | None
    created_at: dt.datetime
    updated_at: dt.datetime
    deactivated_at: dt.datetime | None = None

    @property
    def active(self) -> bool:
        """Whether tokens are accepted."""
        return self.deactivated_at is None

    def document(self) -> dict[str, Any]:
        """Return the message as protobuf's JSON: what is not set is left out."""
        document: dict[str, Any] = {
            "uid": self.uid,
            "orgUid": self.org_uid,
            "name": self.name,
            "issuerUrl": self.issuer_url,
            "audience": self.audience,
            "createdAt": timestamp(self.created_at),
            "updatedAt": timestamp(self.updated_at),
        }
        if self.description is not None:
            document["description"] = self.description
        if self.deactivated_at is not None:
            document["deactivatedAt"] = timestamp(self.deactivated_at)
        return document


class ConfigurationStore:
    """The configurations of the organization, by uid."""

    def __init__(self, org_uid: str) -> None:
        self._org_uid = org_uid
        self._configurations: dict[str, Configuration] = {}

    def __iter__(self) -> Iterator[Configuration]:
        return iter(tuple(self._configurations.values()))

    def get(self, uid: object) -> Configuration:
        """Return one. Raises ApiError with NOT_FOUND."""
        if not isinstance(uid, str) or uid not in self._configurations:
            raise ApiError(Code.NOT_FOUND, "OIDC config not found")
        return self._configurations[uid]

    def create(self, message: Mapping[str, Any], now: dt.datetime) -> Configuration:
        """Keep a new one, made of CreateOIDCConfig's fields (snake_case).

        Raises ApiError with INVALID_ARGUMENT or ALREADY_EXISTS.
        """
        return self._keep(
            Configuration(
                uid=str(uuid.uuid4()),
                org_uid=self._org_uid,
                name=_text(message, "name") or "",
                issuer_url=_text(message, "issuer_url") or "",
                audience=_text(message, "audience") or "",
                description=_text(message, "description"),
                created_at=now,
                updated_at=now,
                deactivated_at=None if _active(message.get("active", True)) else now,
            )
        )

    def update(
        self, uid: object, mask: tuple[str, ...], message: Mapping[str, Any], now: dt.datetime
    ) -> Configuration:
        """Change exactly the fields in `mask` to their values in `message`; an absent one clears.

        Raises ApiError with NOT_FOUND, INVALID_ARGUMENT or ALREADY_EXISTS.
        """
        current = self.get(uid)
        if not mask:
            raise _invalid("update mask must contain at least one path")
        for path in mask:
            if path not in MASKABLE:
                raise _invalid(f"update mask: unknown path {path}; known: {', '.join(MASKABLE)}")
        changes: dict[str, Any] = {
            path: _text(message, path) if path == "description" else _text(message, path) or ""
            for path in mask
            if path != "active"
        }
        if "active" in mask:
            active = _active(message.get("active", False))
            changes["deactivated_at"] = None if active else current.deactivated_at or now
        return self._keep(replace(current, **changes, updated_at=now))

    def delete(self, uid: object) -> None:
        """Remove one. Raises ApiError with NOT_FOUND."""
        del self._configurations[self.get(uid).uid]

    def clear(self) -> None:
        """Forget everything."""
        self._configurations.clear()

    def _keep(self, configuration: Configuration) -> Configuration:
        validate(configuration)
        for other in self:
            if other.uid != configuration.uid and (other.issuer_url, other.audience) == (
                configuration.issuer_url,
                configuration.audience,
            ):
                raise ApiError(
                    Code.ALREADY_EXISTS,
                    f"OIDC config {other.name} has this issuer URL and audience already",
                )
        self._configurations[configuration.uid] = configuration
        return configuration


def validate(configuration: Configuration) -> None:
    """Raise ApiError with INVALID_ARGUMENT for the first field that breaks its rule."""
    if not NAME.fullmatch(configuration.name):
        raise _invalid("name: must be 1 to 255 of the characters a-z, A-Z, 0-9, _ and -")
    if problem := issuer_url_problem(configuration.issuer_url):
        raise _invalid(f"issuer_url: {problem}")
    if not 1 <= len(configuration.audience) <= LONGEST_AUDIENCE:
        raise _invalid(f"audience: must have 1 to {LONGEST_AUDIENCE} characters")
    if len(configuration.description or "") > LONGEST_DESCRIPTION:
        raise _invalid(f"description: must have at most {LONGEST_DESCRIPTION} characters")


def issuer_url_problem(url: object) -> str | None:
    """Say what is wrong with an issuer URL, or `None`: HTTPS, or HTTP to a loopback host."""
    if not isinstance(url, str) or not 1 <= len(url) <= LONGEST_URL:
        return f"must have 1 to {LONGEST_URL} characters"
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return "is not a URL"
    if not host:
        return "must be a URL with a host"
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)):
        return None
    return "must use https; http is for loopback hosts only"


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _text(message: Mapping[str, Any], name: str) -> str | None:
    value = message.get(name)
    if value is not None and not isinstance(value, str):
        raise _invalid(f"{name}: must be a string")
    return value


def _active(value: object) -> bool:
    if not isinstance(value, bool):
        raise _invalid("active: must be true or false")
    return value


def _invalid(message: str) -> ApiError:
    return ApiError(Code.INVALID_ARGUMENT, message)
