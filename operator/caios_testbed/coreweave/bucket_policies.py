"""Bucket policies: the AWS JSON that PutBucketPolicy takes. Source: CoreWeave docs.

What could not be judged truthfully (unknown operators, unknown condition keys, `Not…` elements) is
refused when it is written, instead of being evaluated wrongly later.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from caios_testbed.coreweave.errors import S3Error
from caios_testbed.coreweave.policies import Effect

VERSIONS = ("2012-10-17", "2008-10-17")
OPERATORS = ("StringEquals", "StringNotEquals", "StringLike", "StringNotLike")
_OPERATOR = re.compile(
    r"(?:(?P<quantifier>ForAnyValue|ForAllValues):)?"
    r"(?P<name>String(?P<negated>Not)?(?P<kind>Equals|Like))"
    r"(?P<if_exists>IfExists)?"
)


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator, one key, the values that satisfy it."""

    key: str
    values: tuple[str, ...]
    glob: bool = False
    negated: bool = False
    if_exists: bool = False
    quantifier: str = ""


@dataclass(frozen=True, slots=True)
class BucketStatement:
    """One statement; resources without their `arn:aws:s3:::`."""

    sid: str
    effect: Effect
    principals: tuple[str, ...]
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class BucketPolicy:
    """The statements, and the document as it was written."""

    statements: tuple[BucketStatement, ...]
    document: bytes = b""


def parse_bucket_policy(document: bytes, bucket: str, organization: str) -> BucketPolicy:
    """Return the policy that was sent for `bucket`.

    Raises S3Error with MalformedPolicy that names the element at fault. The texts are ours.
    """
    try:
        policy = json.loads(document)
    except ValueError as error:
        raise _malformed("the policy is not JSON") from error
    if not isinstance(policy, dict):
        raise _malformed("the policy is not an object")
    _only(policy, "policy", {"Version", "Id", "Statement"})
    if policy.get("Version") not in VERSIONS:
        raise _malformed(f"Version must be {' or '.join(VERSIONS)}")
    statements = policy.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise _malformed("Statement must be a list with one statement or more")
    parsed = tuple(
        _parse_statement(statement, f"Statement[{index}]", bucket, organization)
        for index, statement in enumerate(statements)
    )
    sids = [statement.sid for statement in parsed if statement.sid]
    if len(sids) != len(set(sids)):
        raise _malformed("each Sid must be unique")
    return BucketPolicy(parsed, document)


def _parse_statement(
    statement: object, where: str, bucket: str, organization: str
) -> BucketStatement:
    if not isinstance(statement, dict):
        raise _malformed(f"{where} is not an object")
    _only(statement, where, {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"})
    sid = statement.get("Sid", "")
    if not isinstance(sid, str) or (sid and not (sid.isascii() and sid.isalnum())):
        raise _malformed(f"{where}.Sid must be alphanumeric")
    if statement.get("Effect") not in {"Allow", "Deny"}:
        raise _malformed(f"{where}.Effect must be Allow or Deny")
    actions = _texts(statement.get("Action"), f"{where}.Action")
    for action in actions:
        if action != "*" and not action.startswith("s3:"):
            raise _malformed(f"{where}.Action: {action} is no S3 action")
    return BucketStatement(
        sid=sid,
        effect=Effect(statement["Effect"]),
        principals=_principals(statement.get("Principal"), f"{where}.Principal"),
        actions=actions,
        resources=_resources(statement.get("Resource"), f"{where}.Resource", bucket),
        conditions=_conditions(statement.get("Condition", {}), where, organization),
    )


def _principals(value: object, where: str) -> tuple[str, ...]:
    if value == "*":
        return ("*",)
    if not isinstance(value, dict) or not value or not set(value) <= {"AWS", "CW"}:
        raise _malformed(f'{where} must be "*" or an object with CW or AWS')
    return tuple(
        principal for kind, named in value.items() for principal in _texts(named, f"{where}.{kind}")
    )


def _resources(value: object, where: str, bucket: str) -> tuple[str, ...]:
    prefix = "arn:aws:s3:::"
    resources = []
    for arn in _texts(value, where):
        resource = arn.removeprefix(prefix)
        if resource == arn or resource.partition("/")[0] != bucket:
            raise _malformed(f"{where}: {arn} is not {prefix}{bucket} or below it")
        resources.append(resource)
    return tuple(resources)


def _conditions(value: object, where: str, organization: str) -> tuple[Condition, ...]:
    if not isinstance(value, dict):
        raise _malformed(f"{where}.Condition is not an object")
    known = ("s3:prefix", "cw:PrincipalOrgID", f"iam:{organization}:groups")
    conditions = []
    for operator, tests in value.items():
        parts = _OPERATOR.fullmatch(operator)
        if parts is None or not isinstance(tests, dict):
            raise _malformed(
                f"{where}.Condition: {operator} is not emulated; known: {', '.join(OPERATORS)}"
            )
        for key, values in tests.items():
            if key not in known:
                raise _malformed(
                    f"{where}.Condition: key {key} is not emulated; known: {', '.join(known)}"
                )
            conditions.append(
                Condition(
                    key=key,
                    values=_texts(values, f"{where}.Condition.{operator}.{key}", empty=True),
                    glob=parts["kind"] == "Like",
                    negated=bool(parts["negated"]),
                    if_exists=bool(parts["if_exists"]),
                    quantifier=parts["quantifier"] or "",
                )
            )
    return tuple(conditions)


def _texts(value: object, where: str, *, empty: bool = False) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    if not items or not all(isinstance(item, str) and (item or empty) for item in items):
        raise _malformed(f"{where} must be a string or a list of strings")
    return tuple(items)


def _only(document: Mapping[str, Any], where: str, known: set[str]) -> None:
    unknown = sorted(set(document) - known)
    if unknown:
        raise _malformed(f"{where}: {unknown[0]} is not known or not emulated")


def _malformed(message: str) -> S3Error:
    return S3Error("MalformedPolicy", message)
