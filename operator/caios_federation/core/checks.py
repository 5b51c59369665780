"""What is wrong with a binding: an ordered chain of named checks.

A chain is read from the top; the first check that finds something decides. The order is the
specification.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from caios_federation.api import vocabulary as words
from caios_federation.api.conditions import ConditionType, Finding, Reason, Status
from caios_federation.api.federation import PolicyManagement
from caios_federation.core.account import Wish, federation_problem, wish_of
from caios_federation.core.grants import refusal
from caios_federation.core.injection import effective_issuer
from caios_federation.core.observed import Acted, ObservedBinding
from caios_federation.core.pods import judge_pods
from caios_federation.core.text import shown

BindingCheck = Callable[[ObservedBinding], Finding | None]


def spec_understood(seen: ObservedBinding) -> Finding | None:
    """Find a spec that this version cannot read."""
    if seen.binding.invalid is None:
        return None
    return Finding(Status.FALSE, Reason.INVALID_SPEC, seen.binding.invalid)


def federation_exists(seen: ObservedBinding) -> Finding | None:
    """Find a spec.federationName that names nothing."""
    if seen.federation is not None:
        return None
    name = seen.binding.spec.federation_name
    return Finding(
        Status.FALSE,
        Reason.FEDERATION_NOT_FOUND,
        f"spec.federationName: StorageFederation {name!r} does not exist; "
        "create it, or create a binding that names another; policies that it had applied are left "
        "as they are",
    )


def no_other_holder(seen: ObservedBinding) -> Finding | None:
    """Find another binding that has the ServiceAccount already."""
    mine, holder = seen.binding, seen.holder
    if holder is None or holder.meta.uid == mine.meta.uid:
        return None
    if mine.meta.deleting and mine.claim < holder.claim:
        return None  # it had the account until it was deleted, and lost it to nobody
    account = mine.spec.service_account_name
    which = "a user's" if mine.ours else "the older"  # a user's wins, whatever its age
    return Finding(
        Status.FALSE,
        Reason.CONFLICT,
        f"spec.serviceAccountName: ServiceAccount {account!r} is bound by {which} "
        f"FederatedStorageBinding {holder.meta.name!r}; delete one of the two",
    )


def issuer_known(seen: ObservedBinding) -> Finding | None:
    """Find that no principal can be told yet. The federation's own status says why."""
    if (
        seen.federation is None
        or effective_issuer(seen.federation, seen.discovered_issuer) is not None
    ):
        return None
    return Finding(
        Status.UNKNOWN,
        Reason.PENDING,
        f"The issuer of StorageFederation {seen.federation.meta.name!r} is not known yet; "
        "its condition IssuerDiscovered says why",
    )


def grants_allowed(seen: ObservedBinding) -> Finding | None:
    """Find a grant that no rule of the federation allows, where the operator applies policies."""
    grants, namespace = seen.binding.spec.grants, seen.binding.meta.namespace
    if (
        seen.federation is None
        or seen.federation.spec.policy_management is not PolicyManagement.MANAGED
        or not grants
    ):
        return None
    if seen.namespace_labels is None:
        message = f"The labels of namespace {namespace!r} are not known yet."
        return Finding(Status.UNKNOWN, Reason.PENDING, message)
    rules, name = seen.federation.spec.grant_rules, seen.federation.meta.name
    refused = refusal(grants, rules, namespace, seen.namespace_labels, name)
    return None if refused is None else Finding(Status.FALSE, Reason.GRANT_NOT_ALLOWED, refused)


ACCEPTED: Final[tuple[BindingCheck, ...]] = (
    spec_understood,  # what cannot be read cannot be judged
    federation_exists,  # nothing else can be judged without it
    no_other_holder,  # one ServiceAccount, one binding; the message names the winner
    issuer_known,  # without an issuer there is no principal
    grants_allowed,  # last, for what is otherwise in order; nothing of a refused one is applied
)


def judge_accepted(seen: ObservedBinding) -> Finding:
    """Tell whether the binding is in force: whether anything is done for it."""
    accepted = Finding(Status.TRUE, Reason.ACCEPTED, "The binding is valid and in force.")
    return _first(ACCEPTED, seen) or accepted


def judge_binding(
    seen: ObservedBinding, accepted: Finding, acted: Acted
) -> Mapping[ConditionType, Finding]:
    """Return what is to be said of each condition of a binding; `accepted` is judge_accepted's."""
    findings = {
        ConditionType.ACCEPTED: accepted,
        ConditionType.SERVICE_ACCOUNT_FOUND: service_account_found(seen),
    }
    told = (
        (ConditionType.POLICY_SYNCED, acted.policy),
        (ConditionType.CREDENTIALS_VERIFIED, acted.credentials),
        (ConditionType.PODS_FEDERATED, None if acted.pods is None else judge_pods(acted.pods)),
    )
    return findings | {kind: finding for kind, finding in told if finding is not None}


def service_account_found(seen: ObservedBinding) -> Finding:
    """Tell whether the ServiceAccount exists and says something that can be understood.

    One that opts out is found, and the message says so: that is what was asked for.
    """
    name, namespace = seen.binding.spec.service_account_name, seen.binding.meta.namespace
    if seen.annotations is None:
        return Finding(
            Status.FALSE,
            Reason.NOT_FOUND,
            f"spec.serviceAccountName: ServiceAccount {name!r} does not exist in namespace "
            f"{namespace!r}; create it",
        )
    wish = wish_of(seen.annotations)
    if wish is Wish.UNINTELLIGIBLE:
        said = f"annotation {words.INJECT} is {shown(seen.annotations[words.INJECT])}"
        return _invalid(name, said, 'set it to "true" or "false"')
    if wish is Wish.NO_INJECTION:
        message = (
            f"ServiceAccount {name!r} exists, but its annotation {words.INJECT} is "
            f"{words.FALSE!r}, so its Pods are not injected."
        )
        return Finding(Status.TRUE, Reason.FOUND, message)
    problem = federation_problem(seen.annotations) if seen.binding.ours else None
    if problem:
        return _invalid(name, problem, "correct or remove it")
    return Finding(Status.TRUE, Reason.FOUND, f"ServiceAccount {name!r} exists.")


def _invalid(account: str, problem: str, next_step: str) -> Finding:
    return Finding(
        Status.FALSE,
        Reason.ANNOTATION_INVALID,
        f"ServiceAccount {account!r}: {problem}, so its Pods are not injected; {next_step}",
    )


def _first(checks: Iterable[BindingCheck], seen: ObservedBinding) -> Finding | None:
    return next((finding for check in checks if (finding := check(seen))), None)
