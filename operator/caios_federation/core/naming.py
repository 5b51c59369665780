"""Names of what we own outside the cluster. All stated in one place, because deletion trusts them.

A name is deterministic, at most 63 characters, made of lower-case letters, digits and hyphens,
starts with this cluster's prefix, and no two bindings share one. That of an OIDC configuration is
the prefix itself, where the audience is the issuer.
"""

import hashlib
import re
from typing import Final

from caios_federation.core.principal import Issuer

MAX_NAME: Final = 63
"""CoreWeave states no bound for policy names; that of a DNS label is safe everywhere."""
_ISSUER_DIGITS: Final = 8
_TAIL_DIGITS: Final = 16
"""64 bits: with 32 anybody finds two names that share a policy in a second, and in an hour one
that takes the policy of a binding in another namespace."""

_AUDIENCE_DIGITS: Final = 8
"""Enough to tell the few audiences of a cluster apart; an administrator alone chooses them."""


def policy_prefix(issuer: Issuer) -> str:
    """Return what the names of all policies of this cluster start with.

    >>> policy_prefix(Issuer("https://oidc.example/id/1"))
    'cks-489943f9-'
    """
    return f"cks-{_digest(issuer)[:_ISSUER_DIGITS]}-"


def policy_name(issuer: Issuer, namespace: str, name: str) -> str:
    """Return the name of the policy of the binding `namespace`/`name`.

    `a-b`/`c` and `a`/`b-c` would read the same when joined by hyphens, so every name ends in a
    digest of the pair; what is too long is cut before it.
    """
    tail = "-" + _digest(f"{namespace}/{name}")[:_TAIL_DIGITS]
    prefix = policy_prefix(issuer)
    readable = re.sub(r"[^a-z0-9-]", "-", f"{namespace}-{name}")
    room = MAX_NAME - len(prefix) - len(tail)
    return prefix + readable[:room].strip("-") + tail


def trust_name(issuer: Issuer, audience: str) -> str:
    """Return the name of the OIDC configuration that trusts `issuer` for `audience`.

    Two federations of a cluster may want two audiences: each has a configuration of its own.

    >>> trust_name(Issuer("https://oidc.example/id/1"), "https://oidc.example/id/1")
    'cks-489943f9'
    >>> trust_name(Issuer("https://oidc.example/id/1"), "https://coreweave.com/iam")
    'cks-489943f9-0877510b'
    """
    name = policy_prefix(issuer).rstrip("-")
    return name if audience == issuer else f"{name}-{_digest(audience)[:_AUDIENCE_DIGITS]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
