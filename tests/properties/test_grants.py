"""Laws of grant rules: 10 of the house style, judged by one who knows nothing of ours."""

import re
from functools import cache
from itertools import product
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

import strategies
from builders import PRINCIPAL
from caios_federation.api.binding import Access, Grant
from caios_federation.api.federation import GrantRule
from caios_federation.core import grants as core
from caios_federation.core.globs import within
from caios_federation.core.policy import compile_policy, document
from caios_federation.core.principal import Principal

Labels = dict[str, str]

READ = {"s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation"}
WRITE = {
    "s3:PutObject",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
    "s3:ListBucketMultipartUploads",
    "s3:ListBucket",
    "s3:GetBucketLocation",
}
LEVELS = {
    Access.READ_ONLY: READ,
    Access.WRITE_ONLY: WRITE,
    Access.READ_WRITE: READ | WRITE | {"s3:DeleteObject"},
}
ON_THE_WHOLE = {"s3:ListAllMyBuckets", "cwobject:ListBucketInfo", "cwobject:EnsureAccessPolicy"}
ON_BUCKETS = {"s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:GetBucketLocation"} | {
    "s3:PutBucketPolicy",
    "s3:DeleteBucket",
}
ON_OBJECTS = READ | WRITE | {"s3:DeleteObject", "s3:GetObjectVersion", "s3:PutObjectTagging"}
ON_OBJECTS -= ON_BUCKETS
BUCKETS = ["data", "data-1", "dat", "da", "logs", "logs-1", "team", "team-1", "other"]
KEYS = ["a", "a/x", "b", "x-1/a", "a/data-1/a", ""]


def refusal(
    grants: list[Grant], rules: list[GrantRule], namespace: str, labels: Labels
) -> str | None:
    return core.refusal(grants, rules, namespace, labels, "default")


@cache
def matches(pattern: str, text: str) -> bool:
    """Compare as the service may at worst: a star stands for anything, slashes too."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None


def selects(rule: GrantRule, labels: Labels) -> bool:
    """Tell what the few selectors mean that are made up."""
    match rule.namespace_selector:
        case {"matchLabels": {"team": "a"}}:
            return labels.get("team") == "a"
        case {"matchExpressions": [{"operator": "NotIn"}]}:
            return labels.get("tier") != "a"
        case {"matchExpressions": [{"operator": "Exists"}]}:
            return "team" in labels
        case {"matchExpressions": _}:
            return False
    return True


def allows_action(rule: GrantRule, action: str) -> bool:
    levels = (
        action.startswith("s3:") if level is Access.FULL_CONTROL else action in LEVELS[level]
        for level in rule.access
    )
    return any(levels) or any(matches(pattern, action) for pattern in rule.actions)


def allows(rule: GrantRule, action: str, bucket: str, namespace: str, labels: Labels) -> bool:
    """Tell whether `rule` lets a namespace be granted `action` on a bucket, or on all ("")."""
    named = {pattern.replace("{namespace}", namespace) for pattern in rule.buckets}
    on_it = "*" in named if not bucket else any(matches(pattern, bucket) for pattern in named)
    return on_it and selects(rule, labels) and allows_action(rule, action)


def rendered(grants: list[Grant]) -> list[dict[str, Any]]:
    """Return the statements that the grants become, less the mint."""
    policy = compile_policy("cks-00000000-a-b-00000000", Principal(PRINCIPAL), grants)
    statements: list[dict[str, Any]] = document(policy)["statements"]
    return [statement for statement in statements if statement["name"] != "mint"]


def reaches(statements: list[dict[str, Any]], action: str, target: str) -> bool:
    return any(
        any(matches(pattern, action) for pattern in statement["actions"])
        and any(
            pattern == "*" if not target else matches(pattern, target)
            for pattern in statement["resources"]
        )
        for statement in statements
    )


each = given(
    strategies.grant_lists,
    strategies.rule_lists,
    strategies.namespaces,
    strategies.namespace_labels,
)


@settings(max_examples=200)
@each
def test_nothing_that_is_rendered_lies_outside_the_rules(
    grants: list[Grant], rules: list[GrantRule], namespace: str, labels: Labels
) -> None:
    judged = [grant for grant in grants if refusal([grant], rules, namespace, labels) is None]
    statements = rendered(judged)

    def allowed(action: str, bucket: str) -> bool:
        return any(allows(rule, action, bucket, namespace, labels) for rule in rules)

    for action in ON_THE_WHOLE:
        assert allowed(action, "") or not reaches(statements, action, "")
    for action, bucket in product(ON_BUCKETS, BUCKETS):
        assert allowed(action, bucket) or not reaches(statements, action, bucket)
    for action, bucket, key in product(ON_OBJECTS, BUCKETS, KEYS):
        assert allowed(action, bucket) or not reaches(statements, action, f"{bucket}/{key}")


_shapes = st.sampled_from(["*", "*-1", "d*a", "d*-1", "da*", "*a*", "data", "dat*a", "data-*"])


@given(_shapes, st.sets(_shapes, min_size=1, max_size=2))
def test_no_bucket_is_reached_through_a_star_that_is_taken_for_a_slash(
    granted: str, allowed: set[str]
) -> None:
    grant = Grant.model_validate({"name": "g", "buckets": {granted}, "access": "ReadOnly"})
    rule = GrantRule.model_validate(
        {"name": "r", "namespaceSelector": {}, "buckets": allowed, "access": ["ReadOnly"]}
    )
    if refusal([grant], [rule], "team", {}) is None:
        statements = rendered([grant])
        for bucket, key in product(BUCKETS, KEYS):
            reached = reaches(statements, "s3:GetObject", f"{bucket}/{key}")
            assert allows(rule, "s3:GetObject", bucket, "team", {}) or not reached


@settings(max_examples=200)
@each
def test_what_the_rules_allow_is_not_refused(
    grants: list[Grant], rules: list[GrantRule], namespace: str, labels: Labels
) -> None:
    """Of buckets by name and of actions by name, which need no reasoning about patterns."""
    plain = [
        grant
        for grant in grants
        if not any("*" in text for text in grant.buckets | grant.actions)
        and grant.access is not Access.FULL_CONTROL
    ]
    for grant in plain:
        wanted = {
            (action, "" if action in ON_THE_WHOLE else resource.partition("/")[0])
            for statement in rendered([grant])
            for action in statement["actions"]
            for resource in statement["resources"]
        }
        allowed = all(
            any(allows(rule, action, bucket, namespace, labels) for rule in rules)
            for action, bucket in wanted
        )
        assert (refusal([grant], rules, namespace, labels) is None) == allowed


@each
def test_one_more_rule_refuses_nothing_and_one_fewer_allows_nothing(
    grants: list[Grant], rules: list[GrantRule], namespace: str, labels: Labels
) -> None:
    for grant in grants:
        by_all = refusal([grant], rules, namespace, labels)
        for index in range(len(rules)):
            by_fewer = refusal([grant], rules[:index] + rules[index + 1 :], namespace, labels)
            assert by_fewer is not None or by_all is None


@each
def test_grants_are_allowed_together_exactly_if_each_is(
    grants: list[Grant], rules: list[GrantRule], namespace: str, labels: Labels
) -> None:
    alone = [refusal([grant], rules, namespace, labels) for grant in grants]
    together = refusal(grants, rules, namespace, labels)
    assert together == min((problem for problem in alone if problem), default=None)


@given(
    strategies.grant_lists,
    strategies.rule_lists,
    strategies.namespaces,
    strategies.namespace_labels,
    st.randoms(use_true_random=False),
)
def test_neither_order_matters(
    grants: list[Grant],
    rules: list[GrantRule],
    namespace: str,
    labels: Labels,
    random: Any,  # noqa: ANN401  # Hypothesis' own
) -> None:
    before = refusal(grants, rules, namespace, labels)
    random.shuffle(grants)
    random.shuffle(rules)
    assert refusal(grants, rules, namespace, labels) == before


@each
def test_a_prefix_narrows_and_never_widens(
    grants: list[Grant], rules: list[GrantRule], namespace: str, labels: Labels
) -> None:
    for grant in grants:
        whole = grant.model_copy(update={"prefixes": frozenset[str]()})
        if refusal([whole], rules, namespace, labels) is None and "*" not in "".join(grant.buckets):
            assert refusal([grant], rules, namespace, labels) is None


@given(strategies.grant_lists, strategies.namespaces, strategies.namespace_labels)
def test_without_rules_nothing_is_allowed(
    grants: list[Grant], namespace: str, labels: Labels
) -> None:
    assume(grants)
    assert refusal(grants, [], namespace, labels) is not None


# Patterns --------------------------------------------------------------------------------------

texts = ["".join(letters) for size in range(6) for letters in product("abc", repeat=size)]
patterns = ["".join(letters) for size in range(5) for letters in product("ab*", repeat=size)]
MATCHED = {
    pattern: frozenset(text for text in texts if matches(pattern, text)) for pattern in patterns
}


def test_containment_of_short_patterns_is_that_of_all_they_match() -> None:
    """All pairs up to four characters, against all texts of those letters and one other."""
    wrong = [
        (pattern, bound)
        for pattern, bound in product(patterns, repeat=2)
        if within(pattern, bound) != (MATCHED[pattern] <= MATCHED[bound])
    ]
    assert wrong == []


glob = st.text("ab-*", max_size=24)


@given(glob, glob, st.lists(st.text("ab-./", max_size=6), min_size=24, max_size=24))
def test_what_a_contained_pattern_matches_is_matched(
    pattern: str, bound: str, filling: list[str]
) -> None:
    parts = pattern.split("*")
    text = "".join(f"{part}{fill}" for part, fill in zip(parts, filling, strict=False))
    filled = text if len(parts) > len(filling) else text.removesuffix(filling[len(parts) - 1])
    assume(matches(pattern, filled))
    if within(pattern, bound):
        assert matches(bound, filled)


@given(st.lists(glob, min_size=1, max_size=3), glob)
def test_a_pattern_lies_within_itself_and_any_wider(parts: list[str], between: str) -> None:
    pattern = between.join(parts)
    assert within(pattern, pattern)
    assert within(pattern, "*".join(parts))
    assert within(pattern, "*")


@given(glob, glob, glob)
def test_containment_goes_on(one: str, other: str, third: str) -> None:
    if within(one, other) and within(other, third):
        assert within(one, third)


def test_containment_of_long_patterns_takes_no_time() -> None:
    """One that tries all ways to share out the letters would not come to an end."""
    assert not within("a" * 128, "*a" * 63 + "*b")
    assert within("a" * 128, "*a" * 64)
