"""Whether a principal may do something: pure decisions, no I/O, no clock.

Organization policies first: an explicit Deny refuses, an Allow goes on, neither refuses. Then the
bucket policy where there is one: Deny refuses, Allow accepts, neither refuses. Source: CoreWeave
docs, policy evaluation and organization policies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from caios_testbed.coreweave.bucket_policies import BucketPolicy, Condition
from caios_testbed.coreweave.policies import Effect, Policy, Statement

EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: whether `principal` may do `action` on `resource`.

    `resource` is `*` for global actions, a bucket, or `bucket/key`. `context` has the values of
    condition keys; a key without values is absent.
    """

    principal: str
    organization: str
    action: str
    resource: str
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.action} on {self.resource} for {self.principal}"


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer and the sentence that explains it."""

    allowed: bool
    reason: str


def decide(
    policies: Iterable[Policy], bucket_policy: BucketPolicy | None, request: Request
) -> Decision:
    """Evaluate both stages."""
    decision = decide_organization(policies, request)
    if not decision.allowed or bucket_policy is None:
        return decision
    return decide_bucket(bucket_policy, request)


def decide_organization(
    policies: Iterable[Policy], request: Request, *, denies: bool = True
) -> Decision:
    """Evaluate the organization's policies; `denies` says whether Deny statements count."""
    allowed: Decision | None = None
    for policy in policies:
        for statement in policy.statements:
            if not statement_matches(statement, request):
                continue
            where = f"statement {statement.name} of organization policy {policy.name}"
            if statement.effect is Effect.ALLOW:
                allowed = allowed or Decision(allowed=True, reason=f"{where} allows {request}")
            elif denies:
                return Decision(allowed=False, reason=f"{where} denies {request}")
    return allowed or Decision(allowed=False, reason=f"no organization policy allows {request}")


def decide_bucket(policy: BucketPolicy, request: Request) -> Decision:
    """Evaluate the policy of the bucket that the request is about."""
    allowed: Decision | None = None
    arn = f"arn:aws:iam::{request.organization}:{request.principal}"
    for index, statement in enumerate(policy.statements):
        matches = (
            any(principal_matches(pattern, arn) for pattern in statement.principals)
            and any(matches_glob(pattern, request.action) for pattern in statement.actions)
            and any(resource_matches(pattern, request.resource) for pattern in statement.resources)
            and all(
                condition_holds(condition, request.context) for condition in statement.conditions
            )
        )
        if not matches:
            continue
        where = f"statement {statement.sid or index} of the bucket policy"
        if statement.effect is Effect.DENY:
            return Decision(allowed=False, reason=f"{where} denies {request}")
        allowed = allowed or Decision(allowed=True, reason=f"{where} allows {request}")
    return allowed or Decision(
        allowed=False, reason=f"the bucket policy has no statement that allows {request}"
    )


def statement_matches(statement: Statement, request: Request) -> bool:
    """Whether principal, action and resource of the request are all named by the statement."""
    return (
        any(principal_matches(pattern, request.principal) for pattern in statement.principals)
        and any(matches_glob(pattern, request.action) for pattern in statement.actions)
        and (
            EVERYTHING in statement.resources
            if is_global(request.action)
            else any(resource_matches(pattern, request.resource) for pattern in statement.resources)
        )
    )


def is_global(action: str) -> bool:
    """Whether an action is about no bucket, and so only granted on `*`."""
    return action.startswith("cwobject:") or action == "s3:ListAllMyBuckets"


def principal_matches(pattern: str, principal: str) -> bool:
    """Whether a pattern (exact, `*`, or a prefix and a trailing `*`) names the principal.

    A wildcard elsewhere is taken literally: what the service makes of it is not documented.
    """
    if pattern.endswith("*"):
        return principal.startswith(pattern[:-1])
    return pattern == principal


def resource_matches(pattern: str, resource: str) -> bool:
    """Whether a pattern names a bucket (`bucket`) or an object (`bucket/key`).

    The part before the first slash is matched against the bucket, the rest against the key, so
    `data*` names buckets only and `data/*` objects only. Whether the service lets a `*` of the
    bucket part run on into keys is not documented; this is the narrower reading.
    """
    if pattern == EVERYTHING:
        return True
    bucket, slash, key = resource.partition("/")
    bucket_pattern, slash_pattern, key_pattern = pattern.partition("/")
    return (
        bool(slash) == bool(slash_pattern)
        and matches_glob(bucket_pattern, bucket)
        and matches_glob(key_pattern, key)
    )


def condition_holds(condition: Condition, context: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether a condition of a bucket policy holds; AWS' rules for keys that are absent."""
    present = context.get(condition.key, ())
    if not present:
        return condition.if_exists or condition.negated or condition.quantifier == "ForAllValues"
    hits = [
        any(
            matches_glob(wanted, value) if condition.glob else wanted == value
            for wanted in condition.values
        )
        != condition.negated
        for value in present
    ]
    return any(hits) if condition.quantifier == "ForAnyValue" else all(hits)


def matches_glob(pattern: str, text: str) -> bool:
    """Whether `text` has the shape of `pattern`, where `*` stands for any characters or none."""
    if EVERYTHING not in pattern:
        return pattern == text
    return _compiled(pattern).fullmatch(text) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"\*+", pattern)
    return re.compile(".*".join(re.escape(part) for part in parts), re.DOTALL)
