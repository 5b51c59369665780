"""Buckets: what the emulator decides itself instead of leaving it to the storage.

Source: CoreWeave docs for names, zones and bucket policies; codes that the docs do not name are
those of S3.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from aiohttp import web

from caios_testbed.coreweave.bucket_policies import parse_bucket_policy
from caios_testbed.coreweave.errors import S3Error
from caios_testbed.coreweave.evaluation import Decision
from caios_testbed.coreweave.operations import Access
from caios_testbed.coreweave.requestlog import Entry
from caios_testbed.coreweave.state import State
from caios_testbed.coreweave.storage import Bucket, Stored

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
RESERVED_PREFIXES = ("xn--", "cw-", "vip-", "log-stitcher-ch-")
RESERVED_NAMES = ("int",)
DROPPED = {"server", "date", "content-length", "connection", "transfer-encoding"}
"""Headers of the storage that the HTTP server writes itself."""


def name_problem(name: str) -> str | None:
    """Say what is wrong with a bucket's name, or `None`."""
    if not NAME.fullmatch(name):
        return "must have 3 to 63 of a-z, 0-9 and -, and begin and end with a letter or digit"
    if name.startswith(RESERVED_PREFIXES) or name in RESERVED_NAMES:
        return f"is reserved; {', '.join(RESERVED_PREFIXES)} begin reserved names"
    return None


async def create(state: State, name: str, body: bytes) -> web.Response:
    """Make a bucket in the zone that LocationConstraint names."""
    if problem := name_problem(name):
        raise S3Error("InvalidBucketName", f"the bucket name {name} {problem}")
    zone = _location(body)
    if not zone:
        raise S3Error(
            "InvalidLocationConstraint",
            "CreateBucketConfiguration.LocationConstraint must name an availability zone",
        )
    if name in state.storage.buckets:
        raise S3Error("BucketAlreadyOwnedByYou", f"the bucket {name} exists and is yours")
    stored = await state.storage.send("PUT", name, "", "", {}, b"")
    if stored.status == 200:  # noqa: PLR2004  # S3's own
        state.storage.buckets[name] = Bucket(name, zone, state.clock.now())
    return rendered(stored)


def get_location(state: State, name: str, _body: bytes) -> web.Response:
    """Name the bucket's zone."""
    zone = escape(state.storage.buckets[name].zone)
    return _xml(f'<LocationConstraint xmlns="{NAMESPACE}">{zone}</LocationConstraint>')


def get_policy(state: State, name: str, _body: bytes) -> web.Response:
    """Return the bucket policy as it was written."""
    policy = state.storage.buckets[name].policy
    if policy is None:
        raise S3Error("NoSuchBucketPolicy", f"the bucket {name} has no policy")
    return web.Response(body=policy.document, content_type="application/json")


def put_policy(state: State, name: str, body: bytes) -> web.Response:
    """Set the bucket policy."""
    state.storage.buckets[name].policy = parse_bucket_policy(body, name, state.organization)
    return web.Response(status=204)


def delete_policy(state: State, name: str, _body: bytes) -> web.Response:
    """Remove the bucket policy."""
    state.storage.buckets[name].policy = None
    return web.Response(status=204)


OWN: dict[str, Callable[[State, str, bytes], web.Response]] = {
    "GetBucketLocation": get_location,
    "GetBucketPolicy": get_policy,
    "PutBucketPolicy": put_policy,
    "DeleteBucketPolicy": delete_policy,
}
"""Operations on an existing bucket that the storage never sees."""


async def delete_objects(
    state: State,
    bucket: str,
    body: bytes,
    decide: Callable[[Access], Decision],
    entry: Entry,
) -> web.Response:
    """Delete the named objects that the caller may delete; the others become errors, as in S3."""
    tree = _tree(body)
    refused = []
    for item in list(_children(tree, "Object")):
        key = _text(item, "Key")
        version = _text(item, "VersionId")
        action = "s3:DeleteObjectVersion" if version else "s3:DeleteObject"
        decision = decide(Access(action, f"{bucket}/{key}"))
        if not decision.allowed:
            tree.remove(item)
            refused.append((key, decision.reason))
    entry.decision = "denied" if refused else "allowed"
    entry.reason = refused[0][1] if refused else ""
    errors = "".join(
        f"<Error><Key>{escape(key)}</Key><Code>AccessDenied</Code>"
        f"<Message>{escape(f'Access Denied: {reason}')}</Message></Error>"
        for key, reason in refused
    )
    if not list(_children(tree, "Object")):
        return _xml(f'<DeleteResult xmlns="{NAMESPACE}">{errors}</DeleteResult>')
    for element in tree.iter():
        element.tag = element.tag.rpartition("}")[2]
    stored = await state.storage.send("POST", bucket, "", "delete=", {}, ET.tostring(tree))
    response = rendered(stored)
    if errors and isinstance(response.body, bytes):
        response.body = response.body.replace(
            b"</DeleteResult>", f"{errors}</DeleteResult>".encode()
        )
    return response


def rendered(stored: Stored) -> web.Response:
    """Return the storage's answer as ours."""
    headers = {
        name: value
        for name, value in stored.headers.items()
        if name.lower() not in DROPPED and name.lower() != "x-amzn-requestid"
    }
    response = web.Response(status=stored.status, headers=headers, body=stored.body)
    if not stored.body:
        lengths = [v for name, v in stored.headers.items() if name.lower() == "content-length"]
        if lengths:
            # A HEAD: the length of what a GET would return.
            response.headers["Content-Length"] = lengths[0]
    return response


def _location(body: bytes) -> str:
    return "" if not body.strip() else _text(_tree(body), "LocationConstraint")


def _tree(body: bytes) -> ET.Element:
    try:
        return ET.fromstring(body)  # noqa: S314  # expat bounds the expansion of entities
    except ET.ParseError as error:
        raise S3Error("MalformedXML", "the body is not well-formed XML") from error


def _children(tree: ET.Element, name: str) -> list[ET.Element]:
    return [child for child in tree if child.tag.rpartition("}")[2] == name]


def _text(tree: ET.Element, name: str) -> str:
    return next((child.text or "" for child in _children(tree, name)), "")


def _xml(text: str) -> web.Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
    return web.Response(body=body, content_type="application/xml")
