"""What the rules of a federation allow, and what is said where they do not."""

import pytest

from builders import Json, parsed_binding, parsed_federation
from caios_federation.core.grants import refusal

EVERYBODY: Json = {}
TEAM_A: Json = {"matchLabels": {"team": "a"}}
TEAM_B: Json = {"matchLabels": {"team": "b"}}


def grant(access: str = "ReadOnly", *buckets: str, **fields: object) -> Json:
    return {"name": "data", "buckets": list(buckets) or ["models"], "access": access, **fields}


def custom(*actions: str, buckets: tuple[str, ...] = ("models",), **fields: object) -> Json:
    return grant("Custom", *buckets, actions=list(actions), **fields)


def rule(
    *buckets: str,
    access: tuple[str, ...] = (),
    actions: tuple[str, ...] = (),
    selector: Json | None = EVERYBODY,
    name: str = "own",
) -> Json:
    built: Json = {"name": name, "buckets": list(buckets), "namespaceSelector": selector}
    return {**built, "access": list(access), "actions": list(actions)}


def refused(
    *grants: Json, rules: tuple[Json, ...] = (), namespace: str = "team-a", **labels: str
) -> str | None:
    return refusal(
        parsed_binding(grants=list(grants)).spec.grants,
        parsed_federation(grantRules=list(rules)).spec.grant_rules,
        namespace,
        {"team": "a", **labels},
        "shared",
    )


# What is said


def test_without_rules_a_grant_is_refused_and_the_missing_rule_is_told() -> None:
    assert refused(grant("ReadWrite")) == (
        'spec.grants["data"]: no grantRules entry of StorageFederation "shared" allows ReadWrite '
        'on bucket "models" for namespace "team-a"; an administrator can add one with buckets: '
        '["models"] and access: [ReadWrite]'
    )


def test_a_missing_rule_for_an_action_is_told() -> None:
    assert refused(custom("s3:PutBucketPolicy")) == (
        'spec.grants["data"]: no grantRules entry of StorageFederation "shared" allows '
        '"s3:PutBucketPolicy" on bucket "models" for namespace "team-a"; an administrator can add '
        'one with buckets: ["models"] and actions: ["s3:PutBucketPolicy"]'
    )


def test_a_missing_rule_for_the_whole_organization_is_told() -> None:
    own = rule("models", actions=("s3:*",))
    assert refused(custom("s3:ListAllMyBuckets"), rules=(own,)) == (
        'spec.grants["data"]: no grantRules entry of StorageFederation "shared" allows '
        '"s3:ListAllMyBuckets" on the whole organization for namespace "team-a"; an administrator '
        'can add one with buckets: ["*"] and actions: ["s3:ListAllMyBuckets"]; rule "own" allows '
        "this access, but not on this bucket"
    )


def test_a_missing_rule_for_a_pattern_is_told_as_far_as_the_pattern_reaches() -> None:
    message = refused(grant("ReadOnly", "team-*-logs"))
    assert message is not None
    assert (
        'ReadOnly on bucket "team-*-logs", which reaches "team-*" in a policy, for namespace'
        in message
    )
    assert 'buckets: ["team-*"]' in message


def test_a_rule_for_the_bucket_with_less_access_is_named() -> None:
    message = refused(grant("ReadWrite"), rules=(rule("models", access=("ReadOnly",)),))
    assert message is not None
    assert message.endswith('; rule "own" is for this bucket, but not for this access')


def test_a_rule_for_other_namespaces_is_named() -> None:
    message = refused(grant(), rules=(rule("models", access=("ReadOnly",), selector=TEAM_B),))
    assert message is not None
    assert message.endswith(
        '; rule "own" allows this, but its namespaceSelector does not match the namespace'
    )


def test_a_rule_for_other_buckets_is_named() -> None:
    message = refused(grant(), rules=(rule("logs", access=("ReadOnly",)),))
    assert message is not None
    assert message.endswith('; rule "own" allows this access, but not on this bucket')


def test_a_rule_for_the_bucket_is_nearer_than_one_for_others() -> None:
    near = rule("models", access=("ReadOnly",), name="z")
    others = rule("models", access=("ReadWrite",), selector=TEAM_B, name="a")
    message = refused(grant("ReadWrite"), rules=(others, near))
    assert message is not None
    assert 'rule "z"' in message


def test_a_rule_with_nothing_in_common_is_not_named() -> None:
    message = refused(grant(), rules=(rule("logs", access=("ReadOnly",), selector=TEAM_B),))
    assert message == refused(grant())


def test_the_first_of_several_refused_grants_is_told_whatever_their_order() -> None:
    one, other = grant(name="a"), grant("FullControl", name="b")
    assert refused(one, other) == refused(other, one) == refused(one)


def test_look_alikes_are_told_in_ascii() -> None:
    message = refused(grant("ReadOnly", "d\N{CYRILLIC SMALL LETTER A}ta"))
    assert message == (
        'spec.grants["data"].buckets: "d\\u0430ta" is no bucket; use 3 to 63 of a-z, 0-9 and -, '
        "and * for any of them"
    )


def test_a_message_is_short_whatever_the_grant() -> None:
    long = "a" * 300
    for asked in (
        grant("ReadWrite", "a" * 63, name=long),
        grant("ReadWrite", long),
        custom(f"s3:{long}"),
        grant("ReadOnly", prefixes=[f"{long}\\"]),
    ):
        message = refused(asked, rules=(rule("a" * 63, name=long, access=("ReadOnly",)),))
        assert message is not None
        assert len(message) < 600


# Access


@pytest.mark.parametrize(
    ("allowed", "granted"),
    [
        ("ReadOnly", {"ReadOnly"}),
        ("WriteOnly", {"WriteOnly"}),
        ("ReadWrite", {"ReadOnly", "WriteOnly", "ReadWrite"}),
        ("FullControl", {"ReadOnly", "WriteOnly", "ReadWrite", "FullControl"}),
    ],
)
def test_a_level_allows_whatever_is_less(allowed: str, granted: set[str]) -> None:
    own = rule("models", access=(allowed,))
    levels = ("ReadOnly", "WriteOnly", "ReadWrite", "FullControl")
    assert {level for level in levels if refused(grant(level), rules=(own,)) is None} == granted


@pytest.mark.parametrize("listing", ["WholeBucket", "None"])
@pytest.mark.parametrize("access", ["ReadOnly", "WriteOnly", "ReadWrite", "FullControl"])
@pytest.mark.parametrize("prefixes", [None, ["logs/"]])
def test_a_level_is_allowed_with_any_listing_and_prefixes(
    access: str, listing: str, prefixes: list[str] | None
) -> None:
    narrowed = {} if prefixes is None else {"prefixes": prefixes}
    asked = grant(access, listing=listing, **narrowed)
    assert refused(asked, rules=(rule("models", access=(access,)),)) is None


def test_actions_that_a_level_has_are_allowed_with_it() -> None:
    own = rule("models", access=("ReadOnly",))
    assert refused(custom("s3:GetObject", "s3:ListBucket"), rules=(own,)) is None
    assert refused(custom("s3:PutObject"), rules=(own,)) is not None


def test_a_level_is_allowed_where_all_its_actions_are() -> None:
    actions = ("s3:Get*", "s3:ListBucket")
    assert refused(grant("ReadOnly"), rules=(rule("models", actions=actions),)) is None
    assert refused(grant("WriteOnly"), rules=(rule("models", actions=actions),)) is not None


def test_a_pattern_of_actions_must_lie_within_one_that_is_allowed() -> None:
    own = rule("models", actions=("s3:Get*",))
    assert refused(custom("s3:Get*"), rules=(own,)) is None
    assert refused(custom("s3:Get*Tagging"), rules=(own,)) is None
    assert refused(custom("s3:G*"), rules=(own,)) is not None
    assert refused(custom("s3:*"), rules=(own,)) is not None


def test_the_organization_as_a_whole_needs_a_rule_for_every_bucket() -> None:
    for action in ("s3:ListAllMyBuckets", "cwobject:EnsureAccessPolicy", "cwobject:*"):
        assert refused(custom(action), rules=(rule("m*", actions=(action,)),)) is not None
        assert refused(custom(action), rules=(rule("*", actions=(action,)),)) is None


def test_every_s3_action_does_not_allow_control_actions() -> None:
    everything = rule("*", access=("FullControl",), actions=("s3:*",))
    assert refused(custom("s3:ListAllMyBuckets"), rules=(everything,)) is None
    assert refused(custom("cwobject:ListAccessPolicy"), rules=(everything,)) is not None


# Buckets


@pytest.mark.parametrize(
    ("allowed", "granted"),
    [
        ("models", "models"),
        ("team-*", "team-a-*"),
        ("team-*", "team-*"),
        ("team-*", "team-a-models"),
        ("*", "*"),
        ("*-models", "team-a-models"),
        ("{namespace}", "team-a"),
        ("{namespace}-models", "team-a-models"),
        ("{namespace}-*", "team-a-*"),
        ("{namespace}-{namespace}", "team-a-team-a"),
    ],
)
def test_a_bucket_within_a_rules_is_allowed(allowed: str, granted: str) -> None:
    assert refused(grant("ReadOnly", granted), rules=(rule(allowed, access=("ReadOnly",)),)) is None


@pytest.mark.parametrize(
    ("allowed", "granted"),
    [
        ("models", "model"),
        ("models", "models-2"),
        ("team-*", "*"),
        ("team-*", "team*"),
        ("team-*-models", "team-*"),
        ("team-*-models", "team-*-models"),  # a policy's star also stands for a slash
        ("*-models", "*-models"),
        ("{namespace}-models", "team-b-models"),
        ("{namespace}-*", "team-b-*"),
        ("{namespace}-*", "team-a"),
    ],
)
def test_a_bucket_not_within_a_rules_is_refused(allowed: str, granted: str) -> None:
    assert refused(grant("ReadOnly", granted), rules=(rule(allowed, access=("ReadOnly",)),))


def test_buckets_of_one_grant_may_be_allowed_by_different_rules() -> None:
    one = rule("models", access=("ReadOnly",), name="one")
    other = rule("logs", access=("ReadWrite",), name="other")
    assert refused(grant("ReadOnly", "models", "logs"), rules=(one, other)) is None
    assert refused(grant("ReadOnly", "models", "logs"), rules=(one,)) is not None


def test_rules_do_not_lend_each_other_buckets() -> None:
    one = rule("models", access=("ReadOnly",), name="one")
    other = rule("logs", access=("ReadWrite",), name="other")
    assert refused(grant("ReadWrite", "models"), rules=(one, other)) is not None


def test_no_grant_is_nothing_to_refuse() -> None:
    assert refused() is None


# Namespaces


def test_a_rule_is_for_the_namespaces_that_its_selector_matches() -> None:
    own = rule("models", access=("ReadOnly",), selector=TEAM_A)
    assert refused(grant(), rules=(own,), team="a") is None
    assert refused(grant(), rules=(own,), team="b") is not None


def test_a_rule_without_a_selector_is_for_no_namespace() -> None:
    nobodys = {"name": "own", "buckets": ["models"], "access": ["ReadOnly"]}
    assert refused(grant(), rules=(nobodys,)) is not None
    assert refused(grant(), rules=(rule("models", access=("ReadOnly",), selector=None),))


@pytest.mark.parametrize("namespace", ["*", "", "team-*", "-", "team/a", "{namespace}", "a" * 64])
def test_what_is_no_name_of_a_namespace_is_put_in_nowhere(namespace: str) -> None:
    own = rule("{namespace}*", "{namespace}", access=("ReadOnly",))
    for bucket in ("*", "models", "team-a", "a" * 63, "-*"):
        assert refused(grant("ReadOnly", bucket), rules=(own,), namespace=namespace)


def test_another_rule_holds_where_a_name_cannot_be_put_in() -> None:
    own = rule("{namespace}", "models", access=("ReadOnly",))
    assert refused(grant(), rules=(own,), namespace="*") is None


# Alphabets


@pytest.mark.parametrize(
    "prefix", ["logs/", "logs", "a//b", "a.b/", ".hidden/", "...", "日誌/", "a b/", "dt=1%2F2/"]
)
def test_a_prefix_may_be_any_plain_text(prefix: str) -> None:
    asked = grant("ReadOnly", prefixes=[prefix])
    assert refused(asked, rules=(rule("models", access=("ReadOnly",)),)) is None


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"buckets": []}, ".buckets: there is none"),
        ({"buckets": ["Models"]}, '.buckets: "Models" is no bucket'),
        ({"buckets": ["mo"]}, '.buckets: "mo" is no bucket'),
        ({"buckets": ["m" * 64]}, "is no bucket"),
        ({"buckets": ["*" * 64]}, "is no bucket"),
        ({"buckets": ["models/x"]}, '.buckets: "models/x" is no bucket'),
        ({"buckets": ["models\n"]}, '.buckets: "models\\n" is no bucket'),
        ({"buckets": ["m*"], "prefixes": ["a"]}, ".prefixes: they need buckets without *"),
        ({"prefixes": [""]}, '.prefixes: "" is empty'),
        ({"prefixes": ["a" * 513]}, "is longer than 512 characters"),
        ({"prefixes": ["/a"]}, '.prefixes: "/a" starts with a slash'),
        ({"prefixes": ["a*"]}, '.prefixes: "a*" has one of * ?'),
        ({"prefixes": ["a/../b"]}, '.prefixes: "a/../b" has . or .. for a folder'),
        ({"prefixes": ["a\x00"]}, "has characters that cannot be seen"),
        ({"access": "Custom", "actions": ["iam:*"]}, '.actions: "iam:*" is no action'),
        ({"access": "Custom", "actions": ["*"]}, '.actions: "*" is no action'),
    ],
)
def test_what_is_outside_the_alphabets_is_refused_whatever_the_rules(
    fields: Json, problem: str
) -> None:
    everything = rule("*", access=("FullControl",), actions=("s3:*", "cwobject:*", "*", "iam:*"))
    message = refused({**grant(), **fields}, rules=(everything,))
    assert message is not None
    assert message.startswith('spec.grants["data"].')
    assert problem in message


def test_a_rule_for_every_action_of_every_service_is_not_understood() -> None:
    everything = rule("*", actions=("*", "*:*", "s3*", "c*"))
    assert refused(custom("cwobject:*"), rules=(everything,)) is not None
    assert refused(custom("s3:GetObject"), rules=(everything,)) is not None
