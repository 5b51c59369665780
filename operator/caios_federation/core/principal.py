"""The principal of a ServiceAccount, as CoreWeave's policies name it.

The service derives it from a token's `iss` and `sub` alone (CoreWeave docs: CKS workload
identity): `role/<issuer>:system:serviceaccount:<namespace>:<name>`.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NewType
from urllib.parse import urlsplit

from caios_federation.core.errors import ParseError

Issuer = NewType("Issuer", str)
"""An issuer URL exactly as it stands in tokens, of visible ASCII without wildcards."""
Principal = NewType("Principal", str)
"""The short form, which organization policies take."""

_SUBJECT: Final = ":system:serviceaccount:"
_ROLE: Final = "role/"
# What policies understand as wildcards (s5cmd's policy generator refuses them; CoreWeave docs:
# organization policies), and all that is not visible ASCII: it could end a line, hide in one, or
# look like another letter. A URL has no such characters (RFC 3986).
_FORBIDDEN: Final = re.compile(r"[*?\[\]\\]|[^\x21-\x7e]")
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1"})
_MAX_ISSUER: Final = 1024


@dataclass(frozen=True, slots=True)
class Identity:
    """A ServiceAccount of a cluster: what a principal is made of."""

    issuer: Issuer
    namespace: str
    name: str


@lru_cache(maxsize=16)
def parse_issuer(text: str) -> Issuer:
    """Return `text` as an issuer.

    It is kept to the letter: the service compares it with a token's `iss` exactly, and some issuers
    end with a slash (those of AKS do; CKS' do not).

    Raises ParseError unless it is an HTTPS URL (HTTP for loopback) with a host and without
    wildcards, blanks, control characters, query or fragment.
    """
    if len(text) > _MAX_ISSUER:
        raise ParseError(f"issuer: longer than {_MAX_ISSUER} characters")
    if found := _FORBIDDEN.search(text):
        raise ParseError(f"issuer: must not contain {found.group()!r}")
    try:
        url = urlsplit(text)
        host = url.hostname
    except ValueError as error:
        raise ParseError(f"issuer {text!r}: not a URL") from error
    if not host or url.query or url.fragment or "?" in text or "#" in text:
        raise ParseError(f"issuer {text!r}: must be a URL with a host, without query or fragment")
    loopback = host in _LOOPBACK or host.endswith(".localhost")
    if url.scheme != "https" and not (url.scheme == "http" and loopback):
        raise ParseError(f"issuer {text!r}: must start with https://")
    if _SUBJECT in text:
        raise ParseError(f"issuer {text!r}: must not contain {_SUBJECT!r}")
    return Issuer(text)


def render_principal(identity: Identity) -> Principal:
    """Return the principal of `identity`.

    >>> render_principal(Identity(Issuer("https://oidc.example/id/1"), "default", "my-sa"))
    'role/https://oidc.example/id/1:system:serviceaccount:default:my-sa'

    Raises ParseError when a part could reach further than one ServiceAccount.
    """
    parse_issuer(identity.issuer)
    if not _LABEL.fullmatch(identity.namespace):
        raise ParseError(f"namespace {identity.namespace!r}: not the name of a Namespace")
    if not _SUBDOMAIN.fullmatch(identity.name):
        raise ParseError(f"name {identity.name!r}: not the name of a ServiceAccount")
    return Principal(f"{_ROLE}{identity.issuer}{_SUBJECT}{identity.namespace}:{identity.name}")


def parse_principal(text: str) -> Identity:
    """Return the identity that `text`, a principal's short form, names. Raises ParseError."""
    issuer, found, subject = text.removeprefix(_ROLE).rpartition(_SUBJECT)
    namespace, colon, name = subject.partition(":")
    if not (text.startswith(_ROLE) and found and colon):
        raise ParseError(
            f"principal {text!r}: expected role/<issuer>:system:serviceaccount:<namespace>:<name>"
        )
    identity = Identity(parse_issuer(issuer), namespace, name)
    render_principal(identity)  # raises for a namespace or name that cannot be one
    return identity


def render_principal_arn(organization: str, principal: Principal) -> str:
    """Return the form that bucket policies take; organization policies refuse it."""
    return f"arn:aws:iam::{organization}:{principal}"
