"""Each S3 request needs the actions that AWS' reference names; unknown ones are refused."""

from __future__ import annotations

import pytest

from caios_testbed.coreweave.buckets import name_problem
from caios_testbed.coreweave.errors import S3Error
from caios_testbed.coreweave.operations import identify
from caios_testbed.coreweave.wire import encoded_query, split_target


@pytest.mark.parametrize(
    ("method", "bucket", "key", "query", "name", "needs"),
    [
        ("GET", "", "", {}, "ListBuckets", "s3:ListAllMyBuckets *"),
        ("PUT", "b", "", {}, "CreateBucket", "s3:CreateBucket b"),
        ("HEAD", "b", "", {}, "HeadBucket", "s3:ListBucket b"),
        ("GET", "b", "", {"prefix": "p"}, "ListObjects", "s3:ListBucket b"),
        ("GET", "b", "", {"list-type": "2", "x-id": "X"}, "ListObjectsV2", "s3:ListBucket b"),
        (
            "GET",
            "b",
            "",
            {"uploads": ""},
            "ListMultipartUploads",
            "s3:ListBucketMultipartUploads b",
        ),
        ("PUT", "b", "", {"policy": ""}, "PutBucketPolicy", "s3:PutBucketPolicy b"),
        ("GET", "b", "", {"location": ""}, "GetBucketLocation", "s3:GetBucketLocation b"),
        ("POST", "b", "", {"delete": ""}, "DeleteObjects", ""),
        ("GET", "b", "k/l", {}, "GetObject", "s3:GetObject b/k/l"),
        ("HEAD", "b", "k", {"partNumber": "1"}, "HeadObject", "s3:GetObject b/k"),
        ("GET", "b", "k", {"versionId": "1"}, "GetObject", "s3:GetObjectVersion b/k"),
        ("DELETE", "b", "k", {}, "DeleteObject", "s3:DeleteObject b/k"),
        ("POST", "b", "k", {"uploads": ""}, "CreateMultipartUpload", "s3:PutObject b/k"),
        ("PUT", "b", "k", {"uploadId": "u", "partNumber": "1"}, "UploadPart", "s3:PutObject b/k"),
        ("GET", "b", "k", {"uploadId": "u"}, "ListParts", "s3:ListMultipartUploadParts b/k"),
        (
            "DELETE",
            "b",
            "k",
            {"uploadId": "u"},
            "AbortMultipartUpload",
            "s3:AbortMultipartUpload b/k",
        ),
        ("GET", "b", "k", {"X-Amz-Signature": "s"}, "GetObject", "s3:GetObject b/k"),
    ],
)
def test_operations_are_known_by_method_and_query(
    method: str, bucket: str, key: str, query: dict[str, str], name: str, needs: str
) -> None:
    operation = identify(method, bucket, key, query, {})
    accesses = ", ".join(f"{access.action} {access.resource}" for access in operation.accesses)
    assert (operation.name, accesses) == (name, needs)


def test_a_copy_reads_its_source() -> None:
    operation = identify("PUT", "b", "k", {}, {"x-amz-copy-source": "/from/a%20key"})
    assert operation.name == "CopyObject"
    assert [(access.action, access.resource) for access in operation.accesses] == [
        ("s3:GetObject", "from/a key"),
        ("s3:PutObject", "b/k"),
    ]


@pytest.mark.parametrize(("method", "query"), [("PUT", {}), ("POST", {"uploads": ""})])
def test_an_object_with_tags_needs_the_action_of_tags_too(
    method: str, query: dict[str, str]
) -> None:
    operation = identify(method, "b", "k", query, {"x-amz-tagging": "a=b"})
    assert [(access.action, access.resource) for access in operation.accesses] == [
        ("s3:PutObject", "b/k"),
        ("s3:PutObjectTagging", "b/k"),
    ]


@pytest.mark.parametrize(
    ("method", "query"),
    [("GET", {"acl": ""}), ("PUT", {"lifecycle": ""}), ("OPTIONS", {}), ("GET", {"torrent": ""})],
)
def test_what_no_policy_was_asked_about_is_refused(method: str, query: dict[str, str]) -> None:
    with pytest.raises(S3Error) as refused:
        identify(method, "b", "k", query, {})
    assert (refused.value.code, refused.value.status) == ("NotImplemented", 501)


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("data", True),
        ("a-1", True),
        ("ab", False),
        ("a" * 63, True),
        ("a" * 64, False),
        ("Data", False),
        ("-data", False),
        ("data-", False),
        ("da.ta", False),
        ("xn--data", False),
        ("cw-data", False),
        ("vip-data", False),
        ("log-stitcher-ch-1", False),
        ("int", False),
    ],
)
def test_bucket_names(name: str, good: bool) -> None:
    assert (name_problem(name) is None) is good


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/a%20b/c~d", "/a%20b/c~d", ""),
        ("/a+b%2fc", "/a%2Bb/c", ""),
        ("http://b.cwlota.com/k?x=1&y", "/k", "x=1&y="),
        ("http://cwlota.com", "/", ""),
        ("/?prefix=a%2Fb+c", "/", "prefix=a%2Fb%2Bc"),
    ],
)
def test_targets_are_spelt_in_one_way(target: str, path: str, query: str) -> None:
    found_path, found_query = split_target(target)
    assert (found_path, encoded_query(found_query)) == (path, query)
