"""Laws of policies: 9 of the house style, judged by an evaluator that knows nothing of ours."""

import json
import re
from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from builders import PRINCIPAL
from caios_federation.api.binding import Access, Grant, Listing
from caios_federation.core.policy import compile_policy, digest, document, render_document
from caios_federation.core.principal import Principal

NAME = "cks-00000000-team-a-reader-00000000"
ON_OBJECTS = {
    "s3:GetObject": {Access.READ_ONLY, Access.READ_WRITE},
    "s3:PutObject": {Access.READ_WRITE, Access.WRITE_ONLY},
    "s3:AbortMultipartUpload": {Access.READ_WRITE, Access.WRITE_ONLY},
    "s3:DeleteObject": {Access.READ_WRITE},
    "s3:GetObjectVersion": set[Access](),
}
ON_BUCKETS = {
    "s3:GetBucketLocation": {Access.READ_ONLY, Access.READ_WRITE, Access.WRITE_ONLY},
    "s3:ListBucket": {Access.READ_ONLY, Access.READ_WRITE, Access.WRITE_ONLY},
    "s3:DeleteBucket": set[Access](),
    "s3:PutBucketPolicy": set[Access](),
}
ON_EVERYTHING = ["s3:ListAllMyBuckets", "cwobject:ListBucketInfo", "cwobject:EnsureAccessPolicy"]
BUCKETS = ["data", "data-1", "logs", "logs-1", "other"]
KEYS = ["a", "a/x", "a/b/x", "b", "c", "c/a/x", ""]


def matches(pattern: str, text: str) -> bool:
    """Compare as the service may at worst: a star stands for anything, slashes too."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None


def allows(policy: dict[str, Any], action: str, target: str) -> bool:
    """Tell whether a policy allows an action on a bucket, on `bucket/key`, or on nothing ("")."""
    return any(
        any(matches(pattern, action) for pattern in statement["actions"])
        and any(
            pattern == "*" if target == "" else matches(pattern, target)
            for pattern in statement["resources"]
        )
        for statement in policy["statements"]
    )


def lists(grant: Grant) -> bool:
    if grant.listing is None:
        return not grant.prefixes and grant.access is not Access.WRITE_ONLY
    return grant.listing is Listing.WHOLE_BUCKET


def reaches_object(grant: Grant, action: str, bucket: str, key: str) -> bool:
    """Tell what the CRD promises of a grant: access to objects of buckets, below prefixes.

    With a pattern for the bucket a prefix may begin after any slash of a key, since the service
    may let the star stand for a slash.
    """
    if grant.access is Access.CUSTOM:
        meant = any(matches(pattern, action) for pattern in grant.actions)
    else:
        meant = grant.access is Access.FULL_CONTROL or grant.access in ON_OBJECTS[action]
    return meant and any(
        matches(f"{pattern}/*", f"{bucket}/{key}")
        and (key.startswith(prefix) or matches(f"{pattern}/{prefix}*", f"{bucket}/{key}"))
        for pattern, prefix in product(grant.buckets, grant.prefixes or {""})
    )


def reaches_bucket(grant: Grant, action: str, bucket: str) -> bool:
    if grant.access is Access.CUSTOM:
        meant = any(matches(pattern, action) for pattern in grant.actions)
    elif action == "s3:ListBucket":
        meant = lists(grant)
    elif grant.access is Access.FULL_CONTROL:
        meant = not grant.prefixes or action == "s3:GetBucketLocation"
    else:
        meant = grant.access in ON_BUCKETS[action]
    return meant and any(matches(pattern, bucket) for pattern in grant.buckets)


def reaches_everything(grant: Grant, action: str) -> bool:
    """Tell whether a grant is for the organization as a whole."""
    if grant.access is Access.FULL_CONTROL:  # of every bucket, and of their list with them
        return action.startswith("s3:") and "*" in grant.buckets and not grant.prefixes
    return any(matches(pattern, action) for pattern in grant.actions)


def compiled(grants: list[Grant]) -> dict[str, Any]:
    return document(compile_policy(NAME, Principal(PRINCIPAL), grants))


@settings(max_examples=100)
@given(strategies.grant_lists)
def test_no_object_is_reached_that_no_grant_reaches(grants: list[Grant]) -> None:
    policy = compiled(grants)
    for action, bucket, key in product(ON_OBJECTS, BUCKETS, KEYS):
        if allows(policy, action, f"{bucket}/{key}"):
            assert any(reaches_object(grant, action, bucket, key) for grant in grants)


@settings(max_examples=100)
@given(strategies.grant_lists)
def test_no_bucket_is_reached_that_no_grant_reaches(grants: list[Grant]) -> None:
    policy = compiled(grants)
    for action, bucket in product(ON_BUCKETS, BUCKETS):
        if allows(policy, action, bucket):
            assert any(reaches_bucket(grant, action, bucket) for grant in grants)


@given(strategies.grant_lists)
def test_nothing_global_is_reached_that_no_grant_reaches(grants: list[Grant]) -> None:
    policy = compiled(grants)
    for action in ON_EVERYTHING:
        if allows(policy, action, ""):
            assert any(reaches_everything(grant, action) for grant in grants)


@given(strategies.grant_lists)
def test_every_object_that_a_grant_names_is_reached(grants: list[Grant]) -> None:
    policy = compiled(grants)
    for grant, action, bucket, key in product(grants, ON_OBJECTS, BUCKETS, KEYS):
        if reaches_object(grant, action, bucket, key):
            assert allows(policy, action, f"{bucket}/{key}")


@given(strategies.grant_lists)
def test_every_listing_that_a_grant_asks_for_is_allowed(grants: list[Grant]) -> None:
    policy = compiled(grants)
    for grant, bucket in product(grants, BUCKETS):
        named = any(matches(pattern, bucket) for pattern in grant.buckets)
        if named and lists(grant) and grant.access is not Access.CUSTOM:
            assert allows(policy, "s3:ListBucket", bucket)


@given(strategies.grant_lists)
def test_credentials_can_be_issued_whatever_the_grants(grants: list[Grant]) -> None:
    assert allows(compiled(grants), "cwobject:CreateAccessKeyOIDC", "")


@given(strategies.grant_lists)
def test_only_one_principal_is_ever_named_and_nothing_denied(grants: list[Grant]) -> None:
    for statement in compiled(grants)["statements"]:
        assert statement["principals"] == [PRINCIPAL]
        assert statement["effect"] == "Allow"


@given(strategies.grant_lists)
def test_every_statement_is_one_that_the_service_takes(grants: list[Grant]) -> None:
    statements = compiled(grants)["statements"]
    names = [statement["name"] for statement in statements]
    assert sorted(set(names)) == sorted(names)
    for statement in statements:
        assert set(statement) == {"name", "effect", "actions", "resources", "principals"}
        assert statement["actions"] == sorted(set(statement["actions"])) != []
        assert statement["resources"] == sorted(set(statement["resources"])) != []
        if any(action.startswith("cwobject:") for action in statement["actions"]):
            assert statement["resources"] == ["*"]
        if "s3:ListAllMyBuckets" in statement["actions"]:
            assert statement["resources"] == ["*"]


@given(strategies.grant_lists, st.randoms(use_true_random=False))
def test_the_order_of_the_grants_does_not_matter(grants: list[Grant], random: Any) -> None:  # noqa: ANN401  # Hypothesis' own
    shuffled = [*grants]
    random.shuffle(shuffled)
    one, other = (compile_policy(NAME, Principal(PRINCIPAL), order) for order in (grants, shuffled))
    assert render_document(one) == render_document(other)
    assert digest(one) == digest(other)


@given(strategies.grant_lists, strategies.grant_lists)
def test_the_digest_differs_exactly_where_the_document_does(
    one: list[Grant], other: list[Grant]
) -> None:
    first, second = (compile_policy(NAME, Principal(PRINCIPAL), each) for each in (one, other))
    assert (digest(first) == digest(second)) == (document(first) == document(second))


@given(strategies.grant_lists)
def test_the_document_is_read_back_as_it_was(grants: list[Grant]) -> None:
    policy = compile_policy(NAME, Principal(PRINCIPAL), grants)
    assert json.loads(render_document(policy)) == document(policy)
