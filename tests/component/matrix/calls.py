"""How each S3 operation is tried with boto3, so that nothing but a policy can be in its way.

What an operation needs (an object, a started upload, a free name) is made ready by the
administrator; then the principal tries it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.exceptions import ClientError
from mypy_boto3_s3.client import S3Client

from component.coreweave.world import ZONE

Arguments = dict[str, Any]
TAGS: Final[Arguments] = {"TagSet": [{"Key": "a", "Value": "b"}]}
ZONE_OF_NEW: Final[Arguments] = {"CreateBucketConfiguration": {"LocationConstraint": ZONE}}
VERSIONED: Final[Arguments] = {"VersioningConfiguration": {"Status": "Enabled"}}


@dataclass(frozen=True)
class Object:
    """An object that need not exist; each method makes something ready and says where it is.

    What an operation leaves as it was is made once, what it uses up is made anew each time.
    """

    admin: S3Client
    bucket: str
    key: str
    _made: Arguments = field(default_factory=dict)

    def named(self) -> Arguments:
        return {"Bucket": self.bucket, "Key": self.key}

    def stored(self) -> Arguments:
        self.version()
        return self.named()

    def version(self) -> Arguments:
        if "VersionId" not in self._made:
            self._made["VersionId"] = self.admin.put_object(**self.named())["VersionId"]
        return {**self.named(), "VersionId": self._made["VersionId"]}

    def upload(self) -> Arguments:
        if "UploadId" not in self._made:
            started = self.admin.create_multipart_upload(**self.named())
            self._made["UploadId"] = started["UploadId"]
        return {**self.named(), "UploadId": self._made["UploadId"]}

    def part(self) -> Arguments:
        return {**self.upload(), "PartNumber": 1}

    def complete(self) -> Arguments:
        upload = self.upload()
        parts = [{"PartNumber": 1, "ETag": self.admin.upload_part(**self.part())["ETag"]}]
        return {**upload, "MultipartUpload": {"Parts": parts}}

    def once(self) -> Object:
        """Return another object beside this one, to be used up."""
        return Object(self.admin, self.bucket, f"{self.key}-once")


@dataclass(frozen=True)
class Bucket:
    """A bucket, and a second name that is only for creating and deleting."""

    admin: S3Client
    bucket: str

    @property
    def spare(self) -> str:
        return spare(self.bucket)

    def named(self) -> Arguments:
        return {"Bucket": self.bucket}

    def policy(self) -> Arguments:
        """Return a policy that allows everything to everybody."""
        resources = [f"arn:aws:s3:::{self.bucket}", f"arn:aws:s3:::{self.bucket}/*"]
        statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": resources}
        document = {"Version": "2012-10-17", "Statement": [statement]}
        return {**self.named(), "Policy": json.dumps(document)}

    def make(self) -> None:
        """Create the bucket, with versions, and open to everybody as far as it can be."""
        self.admin.create_bucket(**self.named(), **ZONE_OF_NEW)
        self.admin.put_bucket_versioning(**self.named(), **VERSIONED)
        self.admin.put_bucket_policy(**self.policy())

    def with_policy(self) -> Arguments:
        self.admin.put_bucket_policy(**self.policy())
        return self.named()

    def absent(self) -> Arguments:
        if self.spare in self._names():
            self.admin.delete_bucket(Bucket=self.spare)
        return {"Bucket": self.spare, **ZONE_OF_NEW}

    def empty(self) -> Arguments:
        if self.spare not in self._names():
            self.admin.create_bucket(**self.absent())
        return {"Bucket": self.spare}

    def _names(self) -> set[str]:
        return {bucket["Name"] for bucket in self.admin.list_buckets()["Buckets"]}


ON_OBJECTS: Final[Mapping[str, tuple[str, Callable[[Object], Arguments]]]] = {
    "GetObject": ("get_object", Object.stored),
    "HeadObject": ("head_object", Object.stored),
    "PutObject": ("put_object", Object.named),
    "PutObject with tags": ("put_object", lambda at: {**at.named(), "Tagging": "a=b"}),
    "DeleteObject": ("delete_object", lambda at: at.once().stored()),
    "DeleteObjects": ("delete_objects", lambda at: _batch(at.once().stored())),
    "CreateMultipartUpload": ("create_multipart_upload", Object.named),
    "CreateMultipartUpload with tags": (
        "create_multipart_upload",
        lambda at: {**at.named(), "Tagging": "a=b"},
    ),
    "UploadPart": ("upload_part", Object.part),
    "ListParts": ("list_parts", Object.upload),
    "CompleteMultipartUpload": (
        "complete_multipart_upload",
        lambda at: at.once().complete(),
    ),
    "AbortMultipartUpload": ("abort_multipart_upload", lambda at: at.once().upload()),
    "GetObjectTagging": ("get_object_tagging", Object.stored),
    "PutObjectTagging": ("put_object_tagging", lambda at: {**at.stored(), "Tagging": TAGS}),
    "DeleteObjectTagging": ("delete_object_tagging", Object.stored),
    "GetObject of a version": ("get_object", Object.version),
    "HeadObject of a version": ("head_object", Object.version),
    "DeleteObject of a version": ("delete_object", lambda at: at.once().version()),
    "DeleteObjects of versions": ("delete_objects", lambda at: _batch(at.once().version())),
    "GetObjectTagging of a version": ("get_object_tagging", Object.version),
    "PutObjectTagging of a version": (
        "put_object_tagging",
        lambda at: {**at.version(), "Tagging": TAGS},
    ),
    "DeleteObjectTagging of a version": ("delete_object_tagging", Object.version),
}
"""By row of the page: the method of boto3, and what makes its arguments."""

COPIES: Final[Mapping[str, tuple[str, Callable[[Object, Object], Arguments]]]] = {
    "CopyObject": (
        "copy_object",
        lambda source, target: {**target.named(), "CopySource": source.stored()},
    ),
    "CopyObject of a version": (
        "copy_object",
        lambda source, target: {**target.named(), "CopySource": source.version()},
    ),
    "UploadPartCopy": (
        "upload_part_copy",
        lambda source, target: {**target.part(), "CopySource": source.stored()},
    ),
    "UploadPartCopy of a version": (
        "upload_part_copy",
        lambda source, target: {**target.part(), "CopySource": source.version()},
    ),
}
"""The same, for operations that have a source and a target."""

ON_BUCKETS: Final[Mapping[str, tuple[str, Callable[[Bucket], Arguments]]]] = {
    "GetBucketLocation": ("get_bucket_location", Bucket.named),
    "GetBucketVersioning": ("get_bucket_versioning", Bucket.named),
    "PutBucketVersioning": ("put_bucket_versioning", lambda at: {**at.named(), **VERSIONED}),
    "GetBucketPolicy": ("get_bucket_policy", Bucket.with_policy),
    "PutBucketPolicy": ("put_bucket_policy", Bucket.policy),
    "DeleteBucketPolicy": ("delete_bucket_policy", Bucket.with_policy),
    "CreateBucket": ("create_bucket", Bucket.absent),
    "DeleteBucket": ("delete_bucket", Bucket.empty),
    "HeadBucket": ("head_bucket", Bucket.named),
    "ListObjects": ("list_objects", Bucket.named),
    "ListObjectsV2": ("list_objects_v2", lambda at: {**at.named(), "Prefix": "logs/"}),
    "ListMultipartUploads": ("list_multipart_uploads", Bucket.named),
    "ListObjectVersions": ("list_object_versions", Bucket.named),
}


def spare(bucket: str) -> str:
    """Return the name of the bucket that comes and goes beside `bucket`."""
    return f"{bucket}-spare"


def attempt(client: S3Client, method: str, arguments: Arguments) -> bool:
    """Tell whether an operation is allowed. Any failure that is no denial is raised."""
    try:
        answer = getattr(client, method)(**arguments)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        # An answer to HEAD has no body, and so no code but its status.
        if code == ("403" if method.startswith("head_") else "AccessDenied"):
            return False
        raise
    refused = {item["Code"] for item in answer.get("Errors", [])}
    assert refused <= {"AccessDenied"}
    return not refused


def _batch(item: Arguments) -> Arguments:
    bucket = item.pop("Bucket")
    return {"Bucket": bucket, "Delete": {"Objects": [item]}}
