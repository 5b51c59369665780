"""Whether a JWT is good: signature, issuer, audience, times. Nothing of the token is ever kept.

Source: CoreWeave docs, use OIDC tokens: claims `iss`, `aud`, `sub`, `exp` and `iat` are required,
the principal is made of `iss` and `sub` alone. Skew and accepted algorithms are our assumption.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from caios_testbed.coreweave.configurations import Configuration
from caios_testbed.coreweave.errors import TokenRejectedError

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
"""Asymmetric ones only: whoever can verify must not be able to sign."""
LONGEST = 16_384
"""Characters of a token that is looked at; Kubernetes' have about 1,000."""


@dataclass(frozen=True, slots=True)
class Unverified:
    """What a token says of itself before anything is proved: enough to find the keys."""

    issuer: str
    kid: str | None


def peek(token: str) -> Unverified:
    """Read issuer and key id without believing them. Raises TokenRejectedError."""
    if len(token) > LONGEST:
        raise TokenRejectedError("the token is too long")
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004  # header, payload, signature
        raise TokenRejectedError("not a JWT of three parts")
    header, payload = _decoded(parts[0]), _decoded(parts[1])
    if header.get("alg") not in ALGORITHMS:
        raise TokenRejectedError("algorithm not accepted")
    issuer, kid = payload.get("iss"), header.get("kid")
    if not isinstance(issuer, str) or not issuer:
        raise TokenRejectedError("claim iss is missing")
    return Unverified(issuer, kid if isinstance(kid, str) else None)


def verify(
    token: str,
    keys: KeySet,
    configurations: Iterable[Configuration],
    now: float,
    skew_seconds: int,
) -> str:
    """Prove a token and return its principal, `role/<iss>:<sub>`.

    `configurations` are the active ones of the token's issuer, `now` is seconds since the epoch.
    Raises TokenRejectedError.
    """
    try:
        claims = jwt.decode(token, keys, algorithms=ALGORITHMS).claims
    except (JoseError, ValueError, TypeError) as error:
        raise TokenRejectedError(f"not verified: {type(error).__name__}") from error
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise TokenRejectedError("claim sub is missing")
    _check_times(claims, now, skew_seconds)
    audiences = _audiences(claims.get("aud"))
    issuer = claims.get("iss")
    if not any(
        configuration.issuer_url == issuer and configuration.audience in audiences
        for configuration in configurations
    ):
        raise TokenRejectedError("no active OIDC configuration has this issuer and audience")
    return f"role/{issuer}:{subject}"


def _check_times(claims: Mapping[str, Any], now: float, skew: int) -> None:
    if now >= _number(claims, "exp") + skew:
        raise TokenRejectedError("expired")
    if now < _number(claims, "iat") - skew:
        raise TokenRejectedError("issued in the future")
    if "nbf" in claims and now < _number(claims, "nbf") - skew:
        raise TokenRejectedError("not valid yet")


def _number(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRejectedError(f"claim {name} is missing or no number")
    return value


def _audiences(value: object) -> tuple[str, ...]:
    """Return the audiences; that an array need only contain ours is JWT's usual rule."""
    items = value if isinstance(value, list) else [value]
    return tuple(item for item in items if isinstance(item, str))


def _decoded(part: str) -> dict[str, Any]:
    try:
        padded = part.encode("ascii") + b"=" * (-len(part) % 4)
        document = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise TokenRejectedError("not a JWT: a part is no base64url JSON") from error
    if not isinstance(document, dict):
        raise TokenRejectedError("not a JWT: a part is no JSON object")
    return document
