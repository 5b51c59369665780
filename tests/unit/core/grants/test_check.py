"""When the grants of a binding are judged, and what Accepted then says."""

from collections.abc import Mapping

from builders import ISSUER, Json, parsed_binding, parsed_federation
from caios_federation.api.conditions import ConditionType, Finding, Reason, Status
from caios_federation.core.checks import judge_accepted, judge_binding
from caios_federation.core.observed import Acted, ObservedBinding

GRANT: Json = {"name": "data", "buckets": ["models"], "access": "ReadOnly"}
RULE: Json = {
    "name": "own",
    "namespaceSelector": {"matchLabels": {"team": "a"}},
    "buckets": ["models"],
    "access": ["ReadOnly"],
}


def accepted(
    *grants: Json,
    rules: tuple[Json, ...] = (),
    labels: Mapping[str, str] | None = None,
    policies: str = "Managed",
    issuer: bool = True,
) -> Finding:
    binding = parsed_binding(grants=list(grants))
    federation = parsed_federation(policyManagement=policies, grantRules=list(rules))
    seen = ObservedBinding(
        binding=binding,
        holder=binding,
        annotations=None,
        federation=federation,
        discovered_issuer=ISSUER if issuer else None,
        namespace_labels=labels,
    )
    return judge_binding(seen, judge_accepted(seen), Acted())[ConditionType.ACCEPTED]


def test_a_grant_that_no_rule_allows_is_not_accepted() -> None:
    found = accepted(GRANT, labels={"team": "a"})
    assert (found.status, found.reason) == (Status.FALSE, Reason.GRANT_NOT_ALLOWED)
    assert 'bucket "models" for namespace "team-a"' in found.message


def test_a_grant_that_a_rule_allows_is_accepted() -> None:
    found = accepted(GRANT, rules=(RULE,), labels={"team": "a"})
    assert (found.status, found.reason) == (Status.TRUE, Reason.ACCEPTED)


def test_a_namespace_without_the_label_is_not_accepted() -> None:
    assert accepted(GRANT, rules=(RULE,), labels={}).reason == Reason.GRANT_NOT_ALLOWED


def test_a_grant_waits_for_the_labels_of_its_namespace() -> None:
    found = accepted(GRANT, rules=(RULE,), labels=None)
    assert (found.status, found.reason) == (Status.UNKNOWN, Reason.PENDING)
    assert "namespace 'team-a'" in found.message


def test_a_binding_without_grants_needs_no_rule_and_no_labels() -> None:
    assert accepted(labels=None).reason == Reason.ACCEPTED


def test_grants_that_are_only_rendered_need_no_rule() -> None:
    assert accepted(GRANT, labels=None, policies="Rendered").reason == Reason.ACCEPTED


def test_what_else_is_wrong_is_said_first() -> None:
    assert accepted(GRANT, labels={}, issuer=False).reason == Reason.PENDING
