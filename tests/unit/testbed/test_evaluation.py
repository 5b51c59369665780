"""The tables of CoreWeave's documentation, and the laws that any evaluation must keep."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caios_testbed.coreweave.bucket_policies import BucketPolicy, parse_bucket_policy
from caios_testbed.coreweave.evaluation import (
    Request,
    decide,
    decide_bucket,
    decide_organization,
    matches_glob,
    principal_matches,
    resource_matches,
)
from caios_testbed.coreweave.policies import Effect, Policy, Statement

ORGANIZATION = "cw1234"
ISSUER = "https://oidc.cks.coreweave.com/id/8f1c"
PRINCIPAL = f"role/{ISSUER}:system:serviceaccount:team-a:reader"
ARN = f"arn:aws:iam::{ORGANIZATION}:{PRINCIPAL}"


def policy(
    *actions: str,
    resources: tuple[str, ...] = ("*",),
    principals: tuple[str, ...] = (PRINCIPAL,),
    effect: Effect = Effect.ALLOW,
) -> Policy:
    return Policy("p", (Statement("s", effect, actions, resources, principals),))


def request(action: str, resource: str = "*", **context: tuple[str, ...]) -> Request:
    named = {name.replace("_", ":"): values for name, values in context.items()}
    return Request(PRINCIPAL, ORGANIZATION, action, resource, named)


def bucket_policy(**statement: object) -> BucketPolicy:
    written = {
        "Effect": "Allow",
        "Principal": {"AWS": ARN},
        "Action": "s3:*",
        "Resource": ["arn:aws:s3:::data", "arn:aws:s3:::data/*"],
        **statement,
    }
    document = {"Version": "2012-10-17", "Statement": [written]}
    return parse_bucket_policy(json.dumps(document).encode(), "data", ORGANIZATION)


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        (PRINCIPAL, True),
        ("*", True),
        (f"role/{ISSUER}*", True),
        (f"role/{ISSUER}:system:serviceaccount:team-a:*", True),
        (f"role/{ISSUER}", False),
        (f"role/{ISSUER}/*", False),
        (f"role/{ISSUER}/:system:serviceaccount:team-a:reader", False),
        (f"role/{ISSUER}:system:serviceaccount:*:reader", False),
        (f"role/{ISSUER}:system:serviceaccount:team-a:reader2", False),
        (PRINCIPAL.upper(), False),
        ("coreweave/1", False),
    ],
)
def test_principals_match_exactly_or_by_a_trailing_wildcard(pattern: str, matches: bool) -> None:
    assert principal_matches(pattern, PRINCIPAL) is matches


@pytest.mark.parametrize(
    ("pattern", "resource", "matches"),
    [
        ("*", "data", True),
        ("*", "data/a/b", True),
        ("data", "data", True),
        ("data", "data/a", False),
        ("data/*", "data/a/b", True),
        ("data/*", "data", False),
        ("data/logs*", "data/logs/1", True),
        ("data/logs*", "data/other", False),
        ("acceptance-*", "acceptance-1", True),
        ("acceptance-*", "acceptance-1/key", False),
        ("acceptance-*/*", "acceptance-1/key", True),
        ("data/*", "database/x", False),
        ("arn:aws:s3:::data", "data", False),
        ("d.ta", "data", False),
    ],
)
def test_resources_name_buckets_or_objects(pattern: str, resource: str, matches: bool) -> None:
    assert resource_matches(pattern, resource) is matches


@pytest.mark.parametrize(
    ("pattern", "action", "matches"),
    [
        ("s3:*", "s3:GetObject", True),
        ("s3:Get*", "s3:GetObject", True),
        ("s3:Get*", "s3:PutObject", False),
        ("*", "cwobject:CreateAccessKeyOIDC", True),
        ("cwobject:CreateAccessKey*", "cwobject:CreateAccessKeyOIDC", True),
        ("cwobject:CreateAccessKeyFromOIDC", "cwobject:CreateAccessKeyOIDC", False),
        ("s3:getobject", "s3:GetObject", False),
    ],
)
def test_actions_may_have_wildcards_inside(pattern: str, action: str, matches: bool) -> None:
    assert decide_organization([policy(pattern)], request(action)).allowed is matches


@pytest.mark.parametrize("action", ["cwobject:CreateAccessKeyOIDC", "s3:ListAllMyBuckets"])
@pytest.mark.parametrize(
    ("resources", "allowed"), [(("*",), True), (("data",), False), (("data", "data/*"), False)]
)
def test_global_actions_are_only_granted_on_everything(
    action: str, resources: tuple[str, ...], allowed: bool
) -> None:
    granted = policy(action, resources=resources)
    assert decide_organization([granted], request(action)).allowed is allowed


def test_without_a_policy_everything_is_refused() -> None:
    decision = decide([], None, request("s3:GetObject", "data/a"))
    assert not decision.allowed
    assert (
        decision.reason == f"no organization policy allows s3:GetObject on data/a for {PRINCIPAL}"
    )


def test_a_deny_beats_an_allow_of_another_policy() -> None:
    policies = [policy("s3:*"), policy("s3:DeleteObject", effect=Effect.DENY)]
    assert not decide(policies, None, request("s3:DeleteObject", "data/a")).allowed
    assert decide(policies, None, request("s3:GetObject", "data/a")).allowed


def test_a_deny_can_be_told_not_to_count() -> None:
    policies = [policy("*"), policy("cwobject:*", effect=Effect.DENY)]
    asked = request("cwobject:CreateAccessKeyOIDC")
    assert not decide_organization(policies, asked).allowed
    assert decide_organization(policies, asked, denies=False).allowed


def test_a_bucket_policy_is_asked_after_the_organizations() -> None:
    allow = bucket_policy()
    assert not decide([], allow, request("s3:GetObject", "data/a")).allowed
    assert decide([policy("s3:*")], allow, request("s3:GetObject", "data/a")).allowed


def test_a_bucket_policy_that_names_others_refuses() -> None:
    others = bucket_policy(Principal={"AWS": ARN + "2"})
    assert not decide([policy("s3:*")], others, request("s3:GetObject", "data/a")).allowed


def test_a_bucket_policy_takes_arns_not_short_principals() -> None:
    assert decide_bucket(bucket_policy(), request("s3:GetObject", "data/a")).allowed
    short = bucket_policy(Principal={"CW": [PRINCIPAL]})
    assert not decide_bucket(short, request("s3:GetObject", "data/a")).allowed


@pytest.mark.parametrize(
    ("condition", "prefix", "allowed"),
    [
        ({"StringEquals": {"s3:prefix": ["logs/", ""]}}, ("logs/",), True),
        ({"StringEquals": {"s3:prefix": ["logs/", ""]}}, ("",), True),
        ({"StringEquals": {"s3:prefix": "logs/"}}, ("other/",), False),
        ({"StringEquals": {"s3:prefix": "logs/"}}, (), False),
        ({"StringEqualsIfExists": {"s3:prefix": "logs/"}}, (), True),
        ({"StringLike": {"s3:prefix": "logs/*"}}, ("logs/2026/",), True),
        ({"StringLike": {"s3:prefix": "logs/*"}}, ("other/",), False),
        ({"StringNotEquals": {"s3:prefix": "secret/"}}, ("logs/",), True),
        ({"StringNotEquals": {"s3:prefix": "secret/"}}, ("secret/",), False),
        ({"StringNotEquals": {"s3:prefix": "secret/"}}, (), True),
        ({"StringNotLike": {"s3:prefix": "secret/*"}}, ("secret/a",), False),
    ],
)
def test_conditions_limit_listing_to_a_prefix(
    condition: object, prefix: tuple[str, ...], allowed: bool
) -> None:
    limited = bucket_policy(Action="s3:ListBucket", Condition=condition)
    asked = request("s3:ListBucket", "data", s3_prefix=prefix)
    assert decide_bucket(limited, asked).allowed is allowed


names = st.sampled_from(["s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:Get*", "s3:*", "*"])
places = st.sampled_from(["*", "data", "data/*", "data/logs/*", "other", "d*", "d*/*"])
people = st.sampled_from([PRINCIPAL, "*", f"role/{ISSUER}*", f"role/{ISSUER}", "coreweave/1"])


def lists(values: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(values, min_size=1, max_size=3).map(tuple)


statements = st.builds(
    Statement, st.just("s"), st.sampled_from(Effect), lists(names), lists(places), lists(people)
)
policies = st.builds(
    Policy, st.sampled_from("pqr"), st.lists(statements, min_size=1, max_size=3).map(tuple)
)
requests = st.builds(
    request,
    st.sampled_from(["s3:GetObject", "s3:PutObject", "s3:ListBucket"]),
    st.sampled_from(["data", "data/a", "data/logs/1", "other", "other/x"]),
)


@given(st.lists(policies), policies, requests)
def test_one_more_allow_never_refuses(have: list[Policy], more: Policy, asked: Request) -> None:
    allows = tuple(s for s in more.statements if s.effect is Effect.ALLOW)
    if decide_organization(have, asked).allowed:
        assert decide_organization([*have, Policy("more", allows)], asked).allowed


@given(st.lists(policies), policies, requests)
def test_one_more_deny_never_allows(have: list[Policy], more: Policy, asked: Request) -> None:
    denies = tuple(s for s in more.statements if s.effect is Effect.DENY)
    if not decide_organization(have, asked).allowed:
        assert not decide_organization([*have, Policy("more", denies)], asked).allowed


@given(st.lists(policies), requests, st.randoms(use_true_random=False))
def test_the_order_of_policies_does_not_matter(
    have: list[Policy], asked: Request, random: object
) -> None:
    shuffled = sorted(have, key=lambda _: random.random())  # type: ignore[attr-defined]
    expected = decide_organization(have, asked).allowed
    assert decide_organization(shuffled, asked).allowed is expected


@given(st.lists(policies), requests)
def test_a_deny_for_everyone_refuses_everything(have: list[Policy], asked: Request) -> None:
    everything = policy("*", principals=("*",), effect=Effect.DENY)
    assert not decide_organization([*have, everything], asked).allowed
    assert not decide_organization([everything, *have], asked).allowed


@given(st.lists(policies), requests)
def test_a_bucket_policy_never_grants_more(have: list[Policy], asked: Request) -> None:
    if decide(have, bucket_policy(Principal="*"), asked).allowed:
        assert decide_organization(have, asked).allowed


@given(st.text(max_size=20))
def test_a_pattern_without_wildcard_matches_itself_alone(text: str) -> None:
    literal = text.replace("*", "")
    assert matches_glob(literal, literal)
    assert not matches_glob(literal, literal + "x")
    assert matches_glob(literal + "*", literal + "anything\n at all")
