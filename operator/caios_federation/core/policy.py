"""The organization policy of a binding: what its principal may do, and nothing more.

Facts (CoreWeave docs: Organization access policies): five fields a statement, no conditions, short
principals, resources `*`, `<bucket>`, `<bucket>/*` or `<bucket>/<prefix>*`; all `cwobject:` actions
and `s3:ListAllMyBuckets` are accepted on `*` alone. Lists are sets to the service, so they are
rendered sorted, and equal policies have equal bytes.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from caios_federation.api import vocabulary as words
from caios_federation.api.binding import Access, Grant, Listing
from caios_federation.core.principal import Principal

_READ: Final = frozenset({"s3:GetObject"})
_WRITE: Final = frozenset(
    {"s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"}
)
_DELETE: Final = frozenset({"s3:DeleteObject"})
_LIST: Final = frozenset({"s3:ListBucket"})
_LIST_UPLOADS: Final = frozenset({"s3:ListBucketMultipartUploads"})
_LOCATE: Final = frozenset({"s3:GetBucketLocation"})
_ANY: Final = frozenset({"s3:*"})

_BUCKET_ACTIONS: Final = frozenset(
    {
        "s3:CreateBucket",
        "s3:DeleteBucket",
        "s3:DeleteBucketPolicy",
        "s3:GetBucketLocation",
        "s3:GetBucketPolicy",
        "s3:GetBucketVersioning",
        "s3:ListBucket",
        "s3:ListBucketMultipartUploads",
        "s3:ListBucketVersions",
        "s3:PutBucketPolicy",
        "s3:PutBucketVersioning",
    }
)
_OBJECT_ACTIONS: Final = (
    _READ
    | _WRITE
    | _DELETE
    | frozenset(
        {
            "s3:DeleteObjectTagging",
            "s3:DeleteObjectVersion",
            "s3:DeleteObjectVersionTagging",
            "s3:GetObjectTagging",
            "s3:GetObjectVersion",
            "s3:GetObjectVersionTagging",
            "s3:PutObjectTagging",
            "s3:PutObjectVersionTagging",
        }
    )
)
_LISTINGS: Final = _LIST | _LIST_UPLOADS | frozenset({"s3:ListBucketVersions"})
_GLOBAL_ACTIONS: Final = frozenset({"s3:listallmybuckets"})
"""In lower case: whether the service tells cases apart is not documented, so we do not."""
_CONTROL: Final = "cwobject:"
_EVERY_BUCKET: Final = "*"


@dataclass(frozen=True, slots=True)
class Statement:
    """One `Allow` statement; all are, since what no statement allows is denied."""

    name: str
    actions: frozenset[str]
    resources: frozenset[str]


@dataclass(frozen=True, slots=True)
class Policy:
    """An organization access policy for one principal."""

    name: str
    principal: Principal
    statements: tuple[Statement, ...]


def compile_policy(name: str, principal: Principal, grants: Iterable[Grant]) -> Policy:
    """Return the policy that lets `principal` be issued credentials and use its grants."""
    mint = Statement("mint", frozenset({words.MINT_ACTION}), frozenset({"*"}))
    ordered = sorted(grants, key=lambda grant: grant.name)
    granted = (statement for grant in ordered for statement in statements_of(grant))
    return Policy(name, principal, (mint, *granted))


def render_document(policy: Policy) -> str:
    """Return the canonical JSON of `policy`: what the Console takes, and the API below `policy`.

    Indented, because a person reads it in a status and pastes it.
    """
    return json.dumps(document(policy), indent=2, ensure_ascii=False)


def document(policy: Policy) -> dict[str, Any]:
    """Return `policy` as the API has it."""
    return {
        "version": words.POLICY_VERSION,
        "name": policy.name,
        "statements": [
            {
                "name": statement.name,
                "effect": "Allow",
                "actions": sorted(statement.actions),
                "resources": sorted(statement.resources),
                "principals": [policy.principal],
            }
            for statement in policy.statements
        ],
    }


def digest(policy: Policy) -> str:
    """Return a digest that changes exactly when the policy's meaning does."""
    canonical = json.dumps(document(policy), separators=(",", ":"), sort_keys=True)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def lists(grant: Grant) -> bool:
    """Tell whether `grant` lists its buckets.

    Organization policies have no conditions, so a listing shows a whole bucket: by default only
    readers of whole buckets get it.
    """
    if grant.listing is not None:
        return grant.listing is Listing.WHOLE_BUCKET
    return grant.access is not Access.WRITE_ONLY and not grant.prefixes


def is_global(action: str) -> bool:
    """Tell whether `action` is for the organization as a whole, so the service wants it on `*`."""
    lowered = action.lower()
    return lowered in _GLOBAL_ACTIONS or lowered.startswith(_CONTROL)


@cache
def actions_of(access: Access) -> frozenset[str]:
    """Return all actions of a level of access, at its widest: on whole buckets, with listing.

    None of `Custom`, which is what a grant lists.
    """
    widest = Grant(name="", buckets=frozenset(), access=access, listing=Listing.WHOLE_BUCKET)
    return frozenset().union(*_actions(widest))


def statements_of(grant: Grant) -> Iterator[Statement]:
    """Yield the statements of `grant`, bucket-level and object-level actions apart.

    Each name is the grant's and one of four endings, so no two are the same, and none is `mint`.
    """
    on_bucket, on_objects, on_everything = _actions(grant)
    buckets = grant.buckets
    objects = frozenset(
        f"{bucket}/{prefix}*" if prefix or bucket != _EVERY_BUCKET else _EVERY_BUCKET
        for bucket in buckets
        for prefix in (grant.prefixes or {""})
    )
    if on_everything:
        yield Statement(f"{grant.name}-global", on_everything, frozenset({"*"}))
    if on_bucket == on_objects:
        if on_bucket:
            yield Statement(f"{grant.name}-all", on_objects, buckets | objects)
        return
    if on_bucket:
        yield Statement(f"{grant.name}-buckets", on_bucket, buckets)
    if on_objects:
        yield Statement(f"{grant.name}-objects", on_objects, objects)


def _actions(grant: Grant) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Return the actions of `grant` on buckets, on objects, and on the organization as a whole."""
    listing = _LIST if lists(grant) else frozenset()
    uploads = _LIST_UPLOADS if lists(grant) else frozenset()
    match grant.access:
        case Access.READ_ONLY:
            return listing | _LOCATE, _READ, frozenset()
        case Access.READ_WRITE:
            return listing | uploads | _LOCATE, _READ | _WRITE | _DELETE, frozenset()
        case Access.WRITE_ONLY:
            return listing | uploads | _LOCATE, _WRITE, frozenset()
        case Access.FULL_CONTROL:
            return *_full_control(grant), frozenset()
        case Access.CUSTOM:
            everything = frozenset(filter(is_global, grant.actions))
            rest = grant.actions - everything
            # A pattern such as `s3:Get*` is for buckets and objects. But on `*` or `team-a-*` it
            # would reach every object, so a grant of prefixes has it on objects alone.
            on_bucket = rest & _BUCKET_ACTIONS if grant.prefixes else rest - _OBJECT_ACTIONS
            return on_bucket, rest - _BUCKET_ACTIONS, everything


def _full_control(grant: Grant) -> tuple[frozenset[str], frozenset[str]]:
    """Return the actions of full control on buckets and on objects.

    All, as far as prefixes let; without listing they are named one by one, since nothing can be
    taken out of a pattern.
    """
    if grant.prefixes:
        return _LOCATE | (_LISTINGS if lists(grant) else frozenset()), _ANY
    return (_ANY, _ANY) if lists(grant) else (_BUCKET_ACTIONS - _LISTINGS, _OBJECT_ACTIONS)
