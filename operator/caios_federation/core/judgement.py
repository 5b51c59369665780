"""What a binding is entitled to: judged once, and then used by everything that acts for it."""

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from caios_federation.api.binding import Binding
from caios_federation.api.conditions import Finding, Status
from caios_federation.api.objects import Json
from caios_federation.core.checks import (
    issuer_known,
    judge_accepted,
    no_other_holder,
    spec_understood,
)
from caios_federation.core.injection import Sources, Values, compute_values
from caios_federation.core.naming import policy_name
from caios_federation.core.new_pods import NewPods, read_new_pods, remember_new_pods
from caios_federation.core.observed import ObservedBinding
from caios_federation.core.pods import principal_given
from caios_federation.core.policy import Policy, compile_policy, digest, render_document
from caios_federation.core.principal import render_principal_arn
from caios_federation.core.times import parse_time


@dataclass(frozen=True, slots=True)
class Judgement:
    """What follows from what was observed. A binding that is not in force is entitled to nothing.

    Grants can be many and rules too, so this costs: milliseconds, for most bindings much less.
    """

    seen: ObservedBinding
    accepted: Finding
    sources: Sources
    values: Values | None
    """None while the binding is not accepted."""
    policy: Policy | None
    """None where it grants nothing, too."""
    facts: Json
    """The part of a status that acting does not change."""


def judge(seen: ObservedBinding) -> Judgement:
    """Judge a binding."""
    accepted, sources = judge_accepted(seen), _sources(seen)
    values = compute_values(sources) if accepted.status is Status.TRUE else None
    if not isinstance(values, Values) or seen.federation is None:
        return Judgement(seen, accepted, sources, None, None, {})
    policy = _policy(seen.binding, values)
    facts = _facts(values, policy, seen.federation.spec.organization_id)
    return Judgement(seen, accepted, sources, values, policy, facts)


def judge_new_pods(
    judged: Judgement, left_alone: Collection[str], now: dt.datetime, spreading: dt.timedelta
) -> NewPods | None:
    """Return what new Pods of the ServiceAccount are given by the binding, and since when.

    Pods are injected too while the binding is refused for what it grants, so that makes no
    difference. None where that cannot be told, nor could be before. `left_alone` are namespaces
    without injection; `spreading` is how long another issuer takes to reach every replica of the
    webhook.
    """
    seen = judged.seen
    before = read_new_pods(seen.binding.status)
    if spec_understood(seen) or issuer_known(seen):
        # What the webhook does meanwhile is not known: nothing has changed, as far as we know.
        return before
    given = principal_given(judged.sources, seen.namespace_labels, left_alone)
    return remember_new_pods(
        before,
        None if no_other_holder(seen) else given,
        made=parse_time(seen.binding.meta.created) or now,
        now=now,
        spreading=spreading,
    )


def _sources(seen: ObservedBinding) -> Sources:
    return Sources(
        namespace=seen.binding.meta.namespace,
        service_account=seen.binding.spec.service_account_name,
        annotations=seen.annotations or {},
        binding=seen.binding,
        federation=seen.federation,
        discovered_issuer=seen.discovered_issuer,
    )


def _policy(binding: Binding, values: Values) -> Policy | None:
    if not binding.spec.grants:
        return None
    name = policy_name(values.issuer, binding.meta.namespace, binding.meta.name)
    return compile_policy(name, values.principal, binding.spec.grants)


def _facts(values: Values, policy: Policy | None, organization: str) -> Json:
    facts: dict[str, Any] = {
        "issuer": values.issuer,
        "audience": values.audience,
        "principal": values.principal,
        "principalARN": render_principal_arn(organization, values.principal),
        "credentialsURI": values.credentials_uri,
    }
    if policy is not None:
        facts["policy"] = {
            "name": policy.name,
            "digest": digest(policy),
            "document": render_document(policy),
        }
    return facts
