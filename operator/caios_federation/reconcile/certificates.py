"""The Secret with the CA and the serving pair: what it holds, and what is to be written to it.

Nothing here talks to anybody: `reconcile/serving.py` reads, publishes and writes.
"""

import base64
import binascii
import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509

from caios_federation.api import vocabulary as words
from caios_federation.api.objects import Json, mapping_of
from caios_federation.core.rotation import (
    Decision,
    Held,
    Step,
    authority_due,
    due,
    keep_trusted,
    next_step,
)
from caios_federation.reconcile.pki import (
    Authority,
    dated,
    issue_authority,
    issue_pair,
    key_pem,
    pem_of,
    read_authority,
    read_certificates,
    read_pair,
    signer_of,
)

CA_FILE: Final = "ca.crt"
CA_KEY_FILE: Final = "ca.key"
CERTIFICATE_FILE: Final = "tls.crt"
KEY_FILE: Final = "tls.key"
SERVED_FILES: Final = (CA_FILE, CERTIFICATE_FILE, KEY_FILE)
"""Keys of the Secret that webhook Pods mount: as files they have the same names."""
TLS_TYPE: Final = "kubernetes.io/tls"


@dataclass(frozen=True, slots=True)
class Lives:
    """How long what is issued lives, and for whom it is."""

    hosts: Sequence[str]
    pair: dt.timedelta
    authority: dt.timedelta


@dataclass(frozen=True, slots=True)
class Stored:
    """The Secret as it is."""

    version: str = ""
    """Its resourceVersion; empty where there is none."""
    ours: bool = False
    """Whether it carries our label, so that it may be written."""
    immutable: bool = False
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def authorities(self) -> list[x509.Certificate]:
        """The certificates of `ca.crt`."""
        return read_certificates(self.files.get(CA_FILE, b""))

    @property
    def expires(self) -> dt.datetime | None:
        """When the serving certificate expires, whoever made it."""
        found = read_certificates(self.files.get(CERTIFICATE_FILE, b""))
        return found[0].not_valid_after_utc if found else None


@dataclass(frozen=True, slots=True)
class Published:
    """The CAs that the webhook configuration holds."""

    authorities: Sequence[x509.Certificate] = ()
    settled: Collection[str] = ()
    """Identities of those that API servers have had time to learn of."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be trusted, and then written to the Secret."""

    decision: Decision
    trusted: list[x509.Certificate]
    """Whom the API server is to trust, before anything is written."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Keys of the Secret that get a new content; none where it is as it should be."""
    renewal: dt.datetime | None = None
    """When something is due, as far as that is known."""
    draft: Authority | None = None
    """A CA that exists nowhere else until it is written."""


def parse_secret(body: Json) -> Stored:
    """Read the Secret as the API server sends it."""
    meta = mapping_of(body, "metadata")
    return Stored(
        version=str(meta.get("resourceVersion") or ""),
        ours=mapping_of(meta, "labels").get(words.MANAGED_BY) == words.MANAGER,
        immutable=bool(body.get("immutable")),
        files={str(key): _decoded(text) for key, text in mapping_of(body, "data").items()},
    )


def plan_rotation(
    now: dt.datetime,
    stored: Stored,
    published: Published,
    lives: Lives,
    draft: Authority | None = None,
) -> Plan:
    """Return what is next for the operator's own certificates; `draft` saves making a new CA."""
    ours = stored.authorities
    authority = read_authority(ours, stored.files.get(CA_KEY_FILE, b""))
    pair = read_pair(
        stored.files.get(CERTIFICATE_FILE, b""), stored.files.get(KEY_FILE, b""), lives.hosts
    )
    signer = signer_of(pair, [*ours, *published.authorities]) if pair else None
    held = Held(
        authority=dated(authority.certificate) if authority else None,
        pair=dated(pair) if pair and signer else None,
        signer=dated(signer).identity if signer else "",
    )
    decision = next_step(now, held, published.settled, lives.pair)
    files: dict[str, bytes] = {}
    fresh = None
    if decision.step in {Step.NEW_AUTHORITY, Step.START_OVER}:
        authority = fresh = _usable(draft, now, lives) or issue_authority(lives.authority, now)
        files[CA_KEY_FILE] = key_pem(fresh.key)
    if authority and decision.step in {Step.SIGN, Step.START_OVER}:
        issued = issue_pair(authority, lives.hosts, lives.pair, now)
        files |= {CERTIFICATE_FILE: issued.certificate, KEY_FILE: issued.key}
        (pair,) = read_certificates(issued.certificate)
    first = [authority.certificate] if authority else []
    first += [signer] if signer else []
    trusted = trust(now, first, [*ours, *published.authorities])
    if files:
        files[CA_FILE] = pem_of(trusted)
    return Plan(decision, trusted, files, _renewal(authority, pair, lives), fresh)


def trust(
    now: dt.datetime,
    wanted: Sequence[x509.Certificate],
    others: Sequence[x509.Certificate],
) -> list[x509.Certificate]:
    """Return what is to be trusted: `wanted` that are not over, then the first of `others`."""
    known = {dated(each).identity: each for each in [*others, *wanted]}
    kept = keep_trusted(now, map(dated, wanted), map(dated, others))
    return [known[each.identity] for each in kept]


def _usable(draft: Authority | None, now: dt.datetime, lives: Lives) -> Authority | None:
    if draft is None or authority_due(dated(draft.certificate), lives.pair) <= now:
        return None
    return draft


def _renewal(
    authority: Authority | None, pair: x509.Certificate | None, lives: Lives
) -> dt.datetime | None:
    if authority is None or pair is None:
        return None
    return min(due(dated(pair)), authority_due(dated(authority.certificate), lives.pair))


def _decoded(text: object) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except binascii.Error:
        return b""
