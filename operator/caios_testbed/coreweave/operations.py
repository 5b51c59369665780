"""Which S3 operation a request is, and which actions on which resources it needs.

A pure table. What is not in it is refused with NotImplemented: better than letting through what no
policy was asked about. Actions follow AWS' reference, as CoreWeave's docs do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import unquote

from caios_testbed.coreweave.errors import S3Error


class Level(Enum):
    """What an operation is about."""

    SERVICE = "service"
    BUCKET = "bucket"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class Access:
    """One thing that must be allowed."""

    action: str
    resource: str


@dataclass(frozen=True, slots=True)
class S3Operation:
    """A request, understood."""

    name: str
    bucket: str
    key: str
    accesses: tuple[Access, ...]
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


# (level, method, what selects it in the query) -> name, action. An action of None: per object,
# decided when the body has been read.
TABLE: dict[tuple[Level, str, frozenset[str]], tuple[str, str | None]] = {
    (Level.SERVICE, "GET", frozenset()): ("ListBuckets", "s3:ListAllMyBuckets"),
    (Level.BUCKET, "PUT", frozenset()): ("CreateBucket", "s3:CreateBucket"),
    (Level.BUCKET, "HEAD", frozenset()): ("HeadBucket", "s3:ListBucket"),
    (Level.BUCKET, "DELETE", frozenset()): ("DeleteBucket", "s3:DeleteBucket"),
    (Level.BUCKET, "GET", frozenset()): ("ListObjects", "s3:ListBucket"),
    (Level.BUCKET, "GET", frozenset({"list-type"})): ("ListObjectsV2", "s3:ListBucket"),
    (Level.BUCKET, "GET", frozenset({"versions"})): ("ListObjectVersions", "s3:ListBucketVersions"),
    (Level.BUCKET, "GET", frozenset({"uploads"})): (
        "ListMultipartUploads",
        "s3:ListBucketMultipartUploads",
    ),
    (Level.BUCKET, "GET", frozenset({"location"})): ("GetBucketLocation", "s3:GetBucketLocation"),
    (Level.BUCKET, "GET", frozenset({"policy"})): ("GetBucketPolicy", "s3:GetBucketPolicy"),
    (Level.BUCKET, "PUT", frozenset({"policy"})): ("PutBucketPolicy", "s3:PutBucketPolicy"),
    (Level.BUCKET, "DELETE", frozenset({"policy"})): (
        "DeleteBucketPolicy",
        "s3:DeleteBucketPolicy",
    ),
    (Level.BUCKET, "GET", frozenset({"versioning"})): (
        "GetBucketVersioning",
        "s3:GetBucketVersioning",
    ),
    (Level.BUCKET, "PUT", frozenset({"versioning"})): (
        "PutBucketVersioning",
        "s3:PutBucketVersioning",
    ),
    (Level.BUCKET, "POST", frozenset({"delete"})): ("DeleteObjects", None),
    (Level.OBJECT, "GET", frozenset()): ("GetObject", "s3:GetObject"),
    (Level.OBJECT, "HEAD", frozenset()): ("HeadObject", "s3:GetObject"),
    (Level.OBJECT, "PUT", frozenset()): ("PutObject", "s3:PutObject"),
    (Level.OBJECT, "DELETE", frozenset()): ("DeleteObject", "s3:DeleteObject"),
    (Level.OBJECT, "GET", frozenset({"tagging"})): ("GetObjectTagging", "s3:GetObjectTagging"),
    (Level.OBJECT, "PUT", frozenset({"tagging"})): ("PutObjectTagging", "s3:PutObjectTagging"),
    (Level.OBJECT, "DELETE", frozenset({"tagging"})): (
        "DeleteObjectTagging",
        "s3:DeleteObjectTagging",
    ),
    (Level.OBJECT, "POST", frozenset({"uploads"})): ("CreateMultipartUpload", "s3:PutObject"),
    (Level.OBJECT, "PUT", frozenset({"uploadId"})): ("UploadPart", "s3:PutObject"),
    (Level.OBJECT, "POST", frozenset({"uploadId"})): ("CompleteMultipartUpload", "s3:PutObject"),
    (Level.OBJECT, "DELETE", frozenset({"uploadId"})): (
        "AbortMultipartUpload",
        "s3:AbortMultipartUpload",
    ),
    (Level.OBJECT, "GET", frozenset({"uploadId"})): ("ListParts", "s3:ListMultipartUploadParts"),
}

SELECTORS = frozenset(selector for _, _, selectors in TABLE for selector in selectors)
MODIFIERS = frozenset(
    {
        "bucket-region",
        "continuation-token",
        "delimiter",
        "encoding-type",
        "fetch-owner",
        "key-marker",
        "marker",
        "max-buckets",
        "max-keys",
        "max-parts",
        "max-uploads",
        "part-number-marker",
        "partNumber",
        "prefix",
        "response-cache-control",
        "response-content-disposition",
        "response-content-encoding",
        "response-content-language",
        "response-content-type",
        "response-expires",
        "start-after",
        "upload-id-marker",
        "version-id-marker",
        "versionId",
        "x-id",
    }
)
"""Parameters that vary an operation without making it another one."""

COPIES = {"PutObject": "CopyObject", "UploadPart": "UploadPartCopy"}
TAGGED = {"CreateMultipartUpload", "PutObject"}
"""Operations that write tags too, where x-amz-tagging gives some."""
VERSIONED = {
    "s3:GetObject": "s3:GetObjectVersion",
    "s3:DeleteObject": "s3:DeleteObjectVersion",
    "s3:GetObjectTagging": "s3:GetObjectVersionTagging",
    "s3:PutObjectTagging": "s3:PutObjectVersionTagging",
    "s3:DeleteObjectTagging": "s3:DeleteObjectVersionTagging",
}


def identify(
    method: str, bucket: str, key: str, query: Mapping[str, str], headers: Mapping[str, str]
) -> S3Operation:
    """Return the operation. Raises S3Error with NotImplemented or InvalidRequest.

    `headers` are looked up in lower case, and hold what a presigned URL has in its query instead.
    """
    level = Level.OBJECT if key else Level.BUCKET if bucket else Level.SERVICE
    if {"AWSAccessKeyId", "Signature"} <= query.keys():
        raise S3Error(
            "InvalidRequest",
            "signature version 2 is not supported; please use AWS4-HMAC-SHA256",
        )
    names = {name for name in query if not name.lower().startswith("x-amz-")}
    if unknown := sorted(names - SELECTORS - MODIFIERS):
        raise _not_implemented(f"{method} with the parameter {unknown[0]}")
    selectors = frozenset(names & SELECTORS)
    if (level, method, selectors) not in TABLE:
        what = f" with {', '.join(sorted(selectors))}" if selectors else ""
        raise _not_implemented(f"{method} of a {level.value}{what}")
    name, action = TABLE[level, method, selectors]
    resource = f"{bucket}/{key}" if key else bucket or "*"
    if "versionId" in query and action is not None:
        action = VERSIONED.get(action, action)
    accesses = () if action is None else (Access(action, resource),)
    if "x-amz-tagging" in headers and name in TAGGED:
        accesses = (*accesses, Access("s3:PutObjectTagging", resource))
    source = headers.get("x-amz-copy-source")
    if source is not None:
        if name not in COPIES:
            raise S3Error("InvalidRequest", f"{name} does not take x-amz-copy-source")
        name = COPIES[name]
        accesses = (_source_access(source), *accesses)
    context = {"s3:prefix": (query["prefix"],)} if "prefix" in query else {}
    return S3Operation(name, bucket, key, accesses, context)


def _source_access(source: str) -> Access:
    path, _, version = source.partition("?")
    bucket, slash, key = unquote(path).removeprefix("/").partition("/")
    if not bucket or not slash or not key:
        raise S3Error("InvalidArgument", "x-amz-copy-source must be bucket/key")
    action = "s3:GetObjectVersion" if version.startswith("versionId=") else "s3:GetObject"
    return Access(action, f"{bucket}/{key}")


def _not_implemented(what: str) -> S3Error:
    return S3Error("NotImplemented", f"{what} is not emulated")
