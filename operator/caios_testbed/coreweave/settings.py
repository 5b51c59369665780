"""What the emulator is told: the organization it plays, and knobs for what is not documented.

Knobs can be changed while it runs (`PATCH /testbed/settings`), so one emulator serves many tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from caios_testbed.coreweave.errors import ApiError, Code

DEMO_TOKEN = "CW-SECRET-demo-token-of-the-testbed"  # noqa: S105  # public on purpose
DEMO_ORGANIZATION = "cw1234"


@dataclass(frozen=True, slots=True)
class Knobs:
    """Behaviour that tests vary, or that CoreWeave does not document. All times in seconds."""

    container_key_lifetime_seconds: int = 900
    """Lifetime of keys of the GET exchange. 15 minutes in the docs; 1800 and 3600 were reported."""
    session_tokens: bool = False
    """Give keys a non-empty `Token`, which S3 then demands. The docs' example has it empty."""
    accept_bearer_prefix: bool = False
    """Take `Authorization: Bearer <JWT>` at the GET exchange too. Real behaviour unknown."""
    deny_applies_to_mint: bool = True
    """Let an explicit Deny refuse the exchange. Real behaviour unknown."""
    zero_duration_is_permanent: bool = False
    """Answer `durationSeconds: 0` of the POST exchange with a key that never expires, instead of
    refusing it. Real behaviour unknown."""
    token_skew_seconds: int = 60
    """How far the clocks of issuer and emulator may differ. Real value unknown."""
    signature_skew_seconds: int = 900
    """How old an S3 signature may be: AWS' value."""
    expired_key_error: str = "InvalidAccessKeyId"
    """S3 code for an expired key: this or `ExpiredToken`. Real code unknown."""
    key_propagation_seconds: int = 0
    """How long a new key gets `AccessDenied` from S3. Seconds on the real service."""
    policy_propagation_seconds: int = 0
    """How long a change of organization policies takes to work. Real delay unknown."""
    bucket_propagation_seconds: int = 0
    """How long a new bucket answers `InvalidRegion`. About a minute on the real service."""
    oidc_configuration_api: bool = True
    """Serve OIDC configurations over Connect; switched off, the paths are unknown (404), as for
    organizations that have the Console only."""
    jwks_lifetime_seconds: int = 300
    """How long an issuer's keys are believed before they are fetched again."""
    jwks_refetch_seconds: int = 5
    """Shortest time between two fetches that unknown key ids of one issuer can cause."""

    def document(self) -> dict[str, Any]:
        """Return the knobs as JSON with camelCase names."""
        return {camel(name): value for name, value in asdict(self).items()}

    def updated(self, changes: Mapping[str, Any]) -> Knobs:
        """Return a copy with `changes` (camelCase or snake_case names).

        Raises ApiError with INVALID_ARGUMENT for unknown names and values of another type.
        """
        known = {camel(field.name): field.name for field in fields(self)}
        accepted: dict[str, Any] = {}
        for name, value in changes.items():
            field = known.get(camel(name))
            if field is None:
                raise ApiError(
                    Code.INVALID_ARGUMENT, f"unknown setting {name}; known: {', '.join(known)}"
                )
            wanted = type(getattr(self, field))
            if type(value) is not wanted or (wanted is int and value < 0):
                raise ApiError(
                    Code.INVALID_ARGUMENT, f"{name}: wanted {_described(wanted)}, got {value!r}"
                )
            accepted[field] = value
        changed = replace(self, **accepted)
        if changed.expired_key_error not in {"InvalidAccessKeyId", "ExpiredToken"}:
            raise ApiError(
                Code.INVALID_ARGUMENT,
                "expiredKeyError: wanted InvalidAccessKeyId or ExpiredToken",
            )
        return changed

    def assigned(self, assignment: str) -> Knobs:
        """Return a copy with one `name=value` of a command line applied.

        Raises ApiError as `updated` does.
        """
        name, _, text = assignment.partition("=")
        value: Any = text
        if text in {"true", "false"}:
            value = text == "true"
        elif text.isdigit():
            value = int(text)
        return self.updated({name: value})


def camel(name: str) -> str:
    """Return `a_name` as `aName`; camelCase stays as it is."""
    first, *rest = name.replace("-", "_").split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def _described(wanted: type) -> str:
    return {bool: "true or false", int: "a whole number, 0 or more"}.get(wanted, "a string")
