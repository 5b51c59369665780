"""Which policies are accepted, and which version of them counts when."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from caios_testbed.coreweave.bucket_policies import parse_bucket_policy
from caios_testbed.coreweave.errors import ApiError, Code, S3Error
from caios_testbed.coreweave.policies import PolicyStore, parse_policy

NOON = dt.datetime(2026, 1, 23, 12, tzinfo=dt.UTC)


def document(policy: str = "team-a", /, **changes: object) -> dict[str, Any]:
    statement = {
        "name": "read the data",
        "effect": "Allow",
        "actions": ["s3:GetObject"],
        "resources": ["data/*"],
        "principals": ["role/Admin"],
        **changes,
    }
    return {"version": "v1alpha1", "name": policy, "statements": [statement]}


def test_a_policy_is_listed_as_it_was_written() -> None:
    assert parse_policy(document()).document() == document()


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        (None, "policy: must be an object"),
        ({**document(), "version": "2012-10-17"}, "policy.version: must be v1alpha1"),
        ({**document(), "name": ""}, "policy.name: must be a string"),
        ({**document(), "statements": []}, "policy.statements: must be a list"),
        (document(effect="allow"), "policy.statements[0].effect: must be exactly Allow or Deny"),
        (document(actions=[]), "policy.statements[0].actions: must be a list"),
        (document(actions="s3:*"), "policy.statements[0].actions: must be a list"),
        (document(resources=None), "policy.statements[0].resources: must be a list"),
        (document(principals=["a", 1]), "policy.statements[0].principals[1]: must be a string"),
        (document(principals="role/Admin"), "policy.statements[0].principals: must be a list"),
        (document(principals=["arn:aws:iam::cw1:role/x"]), "is an ARN"),
        (document(name=None), "policy.statements[0].name: must be a string"),
        (document(conditions={}), "policy.statements[0]: unknown field conditions"),
    ],
)
def test_a_bad_policy_is_refused_by_name_of_its_field(written: object, fault: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse_policy(written)
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert fault in refused.value.message


def test_a_policy_is_replaced_whole() -> None:
    store = PolicyStore()
    store.ensure(parse_policy(document()), NOON)
    store.ensure(parse_policy(document(actions=["s3:PutObject"])), NOON)
    assert [policy.document() for policy in store.current.values()] == [
        document(actions=["s3:PutObject"])
    ]


def test_what_was_written_counts_from_then_on() -> None:
    store = PolicyStore()
    store.ensure(parse_policy(document("a")), NOON)
    store.ensure(parse_policy(document("b")), NOON + dt.timedelta(seconds=10))
    store.delete("a", NOON + dt.timedelta(seconds=20))
    seen = {
        seconds: sorted(
            policy.name for policy in store.effective(NOON + dt.timedelta(seconds=seconds))
        )
        for seconds in (-1, 0, 10, 19, 20)
    }
    assert seen == {-1: [], 0: ["a"], 10: ["a", "b"], 19: ["a", "b"], 20: ["b"]}


def test_deleting_what_is_not_there_is_not_found() -> None:
    with pytest.raises(ApiError) as refused:
        PolicyStore().delete("gone", NOON)
    assert refused.value.code is Code.NOT_FOUND


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"Effect": "allow"}, "Effect must be Allow or Deny"),
        ({"Action": "cwobject:*"}, "is no S3 action"),
        ({"Resource": "data"}, "is not arn:aws:s3:::data"),
        ({"Resource": "arn:aws:s3:::database/*"}, "is not arn:aws:s3:::data"),
        ({"Principal": {"Federated": "x"}}, "Principal must be"),
        ({"Principal": "x"}, "Principal must be"),
        ({"Sid": "no blanks"}, "Sid must be alphanumeric"),
        ({"NotAction": "s3:*"}, "NotAction is not known or not emulated"),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "1.1.1.1"}}}, "IpAddress is not emulated"),
        ({"Condition": {"StringEquals": {"aws:x": "1"}}}, "key aws:x is not emulated"),
    ],
)
def test_a_bad_bucket_policy_is_refused_when_it_is_written(
    changes: dict[str, object], fault: str
) -> None:
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::data/*",
        **changes,
    }
    written = json.dumps({"Version": "2012-10-17", "Statement": statement}).encode()
    with pytest.raises(S3Error) as refused:
        parse_bucket_policy(written, "data", "cw1234")
    assert refused.value.code == "MalformedPolicy"
    assert fault in refused.value.message
