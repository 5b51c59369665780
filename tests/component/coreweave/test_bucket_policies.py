"""Bucket policies over S3: stored, returned, evaluated after the organization's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from mypy_boto3_s3.client import S3Client

from component.coreweave.world import MINT, PRINCIPAL, ZONE, World

ARN = f"arn:aws:iam::cw1234:{PRINCIPAL}"


def policy(**statement: object) -> str:
    written = {
        "Effect": "Allow",
        "Principal": {"AWS": [ARN]},
        "Action": ["s3:*"],
        "Resource": ["arn:aws:s3:::data", "arn:aws:s3:::data/*"],
        **statement,
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [written]})


@pytest.fixture
def s3(world: World) -> S3Client:
    """Give a client that may do everything, and two objects."""
    world.grant("s3:*", MINT)
    client = world.s3(world.keys())
    client.create_bucket(Bucket="data", CreateBucketConfiguration={"LocationConstraint": ZONE})  # type: ignore[typeddict-item]
    for key in ("logs/1", "secret/1"):
        client.put_object(Bucket="data", Key=key, Body=b"x")
    return client


def code(call: Any, **arguments: object) -> str:  # noqa: ANN401  # any method of the client
    """Return the code of an error, empty for success."""
    try:
        call(Bucket="data", **arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


def test_a_policy_is_returned_as_it_was_written_and_goes(s3: S3Client) -> None:
    assert code(s3.get_bucket_policy) == "NoSuchBucketPolicy"
    s3.put_bucket_policy(Bucket="data", Policy=policy())
    assert s3.get_bucket_policy(Bucket="data")["Policy"] == policy()
    s3.delete_bucket_policy(Bucket="data")
    assert code(s3.get_bucket_policy) == "NoSuchBucketPolicy"


def test_a_deny_refuses_what_the_organization_allows(s3: S3Client) -> None:
    statements = json.loads(policy())["Statement"]
    deny = {
        **statements[0],
        "Effect": "Deny",
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::data/secret/*",
    }
    both = json.dumps({"Version": "2012-10-17", "Statement": [*statements, deny]})
    s3.put_bucket_policy(Bucket="data", Policy=both)
    assert code(s3.get_object, Key="logs/1") == ""
    assert code(s3.get_object, Key="secret/1") == "AccessDenied"


def test_who_is_not_named_is_refused(s3: S3Client) -> None:
    s3.put_bucket_policy(Bucket="data", Policy=policy(Principal={"AWS": ARN + "-other"}))
    assert code(s3.get_object, Key="logs/1") == "AccessDenied"
    assert code(s3.list_objects_v2) == "AccessDenied"


def test_putting_a_policy_asks_the_organization_only(s3: S3Client) -> None:
    s3.put_bucket_policy(Bucket="data", Policy=policy(Effect="Deny", Principal="*"))
    assert code(s3.get_bucket_policy) == "AccessDenied"
    assert code(s3.put_bucket_policy, Policy=policy()) == ""
    assert code(s3.get_bucket_policy) == ""


def test_listing_can_be_limited_to_a_prefix(s3: S3Client) -> None:
    limited = policy(Action="s3:ListBucket", Condition={"StringLike": {"s3:prefix": "logs/*"}})
    s3.put_bucket_policy(Bucket="data", Policy=limited)
    assert code(s3.list_objects_v2, Prefix="logs/") == ""
    assert code(s3.list_objects_v2, Prefix="secret/") == "AccessDenied"
    assert code(s3.list_objects_v2) == "AccessDenied"


def test_a_malformed_policy_is_refused(s3: S3Client) -> None:
    assert code(s3.put_bucket_policy, Policy="{}") == "MalformedPolicy"
