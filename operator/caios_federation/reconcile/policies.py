"""The policy of a binding at CoreWeave: applied, repaired, taken back, removed.

The finalizer is there before the policy is and goes after it, so that no policy is left behind by
a binding that is deleted while we are down.
"""

from dataclasses import dataclass, replace

from caios_federation.api import vocabulary as words
from caios_federation.api.binding import Binding, DeletionPolicy
from caios_federation.api.conditions import ConditionType, Finding, Reason, Status
from caios_federation.api.federation import Federation, PolicyManagement
from caios_federation.caches import Caches
from caios_federation.clients import errors
from caios_federation.core.conditions import recorded_condition
from caios_federation.core.naming import policy_name
from caios_federation.core.policy import Policy, digest, document
from caios_federation.core.principal import Issuer
from caios_federation.core.sync import UNREADABLE, meaning_of
from caios_federation.observe import events
from caios_federation.observe.events import Event
from caios_federation.reconcile.acting import Acting, log, subject_of
from caios_federation.reconcile.failures import deletion_finding, policy_finding
from caios_federation.reconcile.finalizer import hold, release
from caios_federation.reconcile.organizations import TokenMissing
from caios_federation.reconcile.outcome import Outcome
from caios_federation.reconcile.snapshot import PolicySnapshot

_TAKEN_BACK = frozenset({Reason.CONFLICT, Reason.GRANT_NOT_ALLOWED})
"""Why a binding that asks for grants has none. Any other reason says that we cannot tell."""

_NO_ISSUER = Finding(
    Status.FALSE,
    Reason.DELETE_FAILED,
    "The cluster's issuer is not known, and with it the policy's name; the condition "
    "IssuerDiscovered of the StorageFederation says why",
)

_UNSETTLED = Finding(
    Status.UNKNOWN,
    Reason.PENDING,
    "An earlier write of the policy got no answer and may still come about; the binding stays "
    "until the policy is looked at once more, a minute after that write",
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one binding wants to have at CoreWeave."""

    binding: Binding
    federation: Federation
    issuer: Issuer | None
    accepted: Finding
    policy: Policy | None
    """None: no policy."""


async def keep_policy(caches: Caches, acting: Acting, wanted: Wanted) -> Outcome:
    """Have CoreWeave hold what is wanted. Raises ClientError when the binding is not writable."""
    binding, accepted = wanted.binding, wanted.accepted
    if wanted.federation.spec.policy_management is not PolicyManagement.MANAGED:
        # Whoever switches to Rendered takes over the policies as they are.
        await release(caches, acting, binding)
        return Outcome()
    held = words.POLICY_FINALIZER in binding.meta.finalizers
    if not (binding.spec.grants or held):
        return Outcome()
    waiting = Outcome(_waiting(accepted) if binding.spec.grants else None)
    refused = accepted.status is Status.FALSE and accepted.reason in _TAKEN_BACK
    if wanted.issuer is None or not (accepted.status is Status.TRUE or refused):
        return waiting
    remote = acting.organizations.of(wanted.federation, wanted.issuer)
    if remote is None:
        return _failed(wanted, TokenMissing("spec.apiTokenSecretName is not set"))
    if wanted.policy is None or refused:
        name = policy_name(wanted.issuer, binding.meta.namespace, binding.meta.name)
        taken = await _take_back(caches, acting, wanted, remote.policies, name)
        return replace(taken, finding=taken.finding or waiting.finding)
    return await _apply(caches, acting, wanted, wanted.policy, remote.policies)


async def _apply(
    caches: Caches, acting: Acting, wanted: Wanted, policy: Policy, policies: PolicySnapshot
) -> Outcome:
    binding, name, body = wanted.binding, policy.name, document(policy)
    try:
        current = await policies.current()
        missing = current.get(name) != meaning_of(body)
    except errors.ClientError as error:
        return _failed(wanted, error)
    await hold(caches, acting, binding)
    # Before the policy is written: what fails after that would leave untold that it is.
    await acting.retained.discard(name)
    told: set[Event] = set()
    if missing:
        try:
            await policies.ensure(body)
        except errors.ClientError as error:
            return _failed(wanted, error)
        drifted = _said_synced(binding, digest(policy)) and not policies.came_late(name)
        told.add(_applied(binding, policy, drifted=drifted))
        if drifted:
            acting.metrics.drift_repaired()
        log.info(
            "policy applied",
            namespace=binding.meta.namespace,
            name=binding.meta.name,
            policyName=name,
            policyDigest=digest(policy),
            drifted=drifted,
        )
    synced = Finding(Status.TRUE, Reason.SYNCED, f"Policy {name!r} says what the grants say.")
    again = policies.unsettled_seconds(name, meaning_of(body))
    return Outcome(synced, frozenset(told), changed=missing, again_after_seconds=again)


async def _take_back(
    caches: Caches,
    acting: Acting,
    wanted: Wanted,
    policies: PolicySnapshot,
    name: str,
) -> Outcome:
    """Remove the policy of a binding that is to have none, whoever put it there."""
    binding = wanted.binding
    told = frozenset[Event]()
    try:
        current = await policies.current()
        if name in current:
            await _remove(policies, binding, name)
            told = frozenset({_removed(binding, name)})
    except errors.ClientError as error:
        return _failed(wanted, error)
    again = policies.unsettled_seconds(name, None)
    if again is None:
        await release(caches, acting, binding)
    # Else it stays held: what comes about late would be nobody's.
    return Outcome(events=told, again_after_seconds=again)


async def let_go(caches: Caches, acting: Acting, wanted: Wanted) -> Outcome:
    """Clean up after a binding that is being deleted, then let it go.

    Raises ClientError when the binding cannot be written.
    """
    if words.POLICY_FINALIZER not in wanted.binding.meta.finalizers:
        return Outcome()
    cleaned = Outcome()
    if wanted.federation.spec.policy_management is PolicyManagement.MANAGED:
        cleaned = await _clean_up(acting, wanted)
    if cleaned.finding is None:
        await release(caches, acting, wanted.binding)
    return cleaned


async def _clean_up(acting: Acting, wanted: Wanted) -> Outcome:
    """See to what a binding leaves behind; a finding says why it has to stay for now.

    Raises ClientError when the record of retained policies cannot be written.
    """
    binding, accepted = wanted.binding, wanted.accepted
    retains = binding.spec.deletion_policy is DeletionPolicy.RETAIN
    if wanted.issuer is None:
        unknown = errors.Unavailable("the cluster's issuer is not known")
        return _blocked(binding, _NO_ISSUER, unknown)
    if retains and accepted.status is Status.UNKNOWN:
        finding = Finding(Status.FALSE, Reason.DELETE_FAILED, accepted.message)
        return _blocked(binding, finding, errors.Unavailable(accepted.message))
    name = policy_name(wanted.issuer, binding.meta.namespace, binding.meta.name)
    # What the binding may not have, or does not ask for any more, is not retained.
    left = retains and (wanted.policy is not None or binding.invalid is not None)
    missing = None
    try:
        policies = _policies(acting, wanted, wanted.issuer)
        if left:
            missing = await _retain(policies, wanted, name)
        # While another write may come about, it is looked for; else a removal needs no LIST.
        elif policies.unsettled_seconds(name, None) is None or name in await policies.current():
            await _remove(policies, binding, name)
    except errors.ClientError as error:
        finding = deletion_finding(error, wanted.federation, retains=left)
        return _blocked(binding, finding, error)
    again = policies.unsettled_seconds(name, _left(wanted) if left else None)
    if again is not None:
        return Outcome(_UNSETTLED, again_after_seconds=again)
    if not left:
        told = _removed(binding, name, accepted if retains else None)
    elif missing is not None:
        told = _none_to_retain(binding, name, missing)
    else:
        await acting.retained.add(name, binding.meta.key)
        log.info(
            "policy retained",
            namespace=binding.meta.namespace,
            name=binding.meta.name,
            policyName=name,
        )
        told = _retained(acting, binding, name)
    return Outcome(events=frozenset({told}))


async def _retain(policies: PolicySnapshot, wanted: Wanted, name: str) -> str | None:
    """Have a policy that is left say what its grants say; return why there is none to leave.

    Where the grants cannot be read, it is left as it is.
    """
    current = (await policies.current()).get(name)
    if wanted.policy is None:
        return wanted.accepted.message if current is None else None
    if current == _left(wanted):
        return None
    try:
        await policies.ensure(document(wanted.policy))
    except errors.Rejected as error:
        if current is not None:
            raise
        return str(error)
    return None


def _left(wanted: Wanted) -> str:
    """Return the meaning of a policy that is retained; where that cannot be read, equal to none."""
    return UNREADABLE if wanted.policy is None else meaning_of(document(wanted.policy))


def _policies(acting: Acting, wanted: Wanted, issuer: Issuer) -> PolicySnapshot:
    remote = acting.organizations.of(wanted.federation, issuer)
    if remote is None:
        raise TokenMissing("spec.apiTokenSecretName is not set")
    return remote.policies


async def abandon(
    caches: Caches, acting: Acting, binding: Binding, issuer: Issuer | None
) -> Outcome:
    """Let a binding go whose federation is gone, and with it the API token: the policy stays.

    `issuer` is the cluster's. Raises ClientError when the binding cannot be written.
    """
    if words.POLICY_FINALIZER not in binding.meta.finalizers:
        return Outcome()
    await release(caches, acting, binding)
    return Outcome(events=frozenset({_abandoned(binding, issuer)}))


def _blocked(binding: Binding, finding: Finding, error: errors.ClientError) -> Outcome:
    told = frozenset({events.cleanup_blocked(subject_of(binding), finding.message)})
    return Outcome(finding, told, error=error)


async def _remove(policies: PolicySnapshot, binding: Binding, name: str) -> None:
    await policies.delete(name)
    log.info(
        "policy removed",
        namespace=binding.meta.namespace,
        name=binding.meta.name,
        policyName=name,
    )


def _failed(wanted: Wanted, error: errors.ClientError) -> Outcome:
    finding = policy_finding(error, wanted.federation)
    told: frozenset[Event] = frozenset()
    if finding.status is Status.FALSE:
        told = frozenset({events.policy_sync_failed(subject_of(wanted.binding), finding.message)})
    return Outcome(finding, told, error=error)


def _applied(binding: Binding, policy: Policy, *, drifted: bool) -> Event:
    if not drifted:
        message = f"Policy {policy.name!r} is applied ({digest(policy)})"
        return events.policy_applied(subject_of(binding), message)
    message = (
        f"Policy {policy.name!r} had been changed or removed at CoreWeave by somebody else; it "
        "says again what the grants say"
    )
    return events.drift_repaired(subject_of(binding), message)


def _removed(binding: Binding, name: str, unretained: Finding | None = None) -> Event:
    """Tell of a removal; `unretained` is why a policy goes that was to be retained."""
    message = f"Policy {name!r} is removed"
    if unretained is not None:
        because = "it has no grants"
        if unretained.status is not Status.TRUE:
            because = f"the binding is not accepted ({unretained.reason})"
        message += f", although spec.deletionPolicy says Retain, because {because}"
    return events.policy_removed(subject_of(binding), message)


def _retained(acting: Acting, binding: Binding, name: str) -> Event:
    because = "as spec.deletionPolicy Retain says"
    if binding.invalid is not None:
        because = f"since the spec cannot be read ({binding.invalid}) and asks for no removal"
    return events.policy_retained(
        subject_of(binding),
        f"Policy {name!r} is left at CoreWeave with all that it allows, {because}; to end that, "
        "remove it in the Console, and its name from ConfigMap "
        f"{acting.settings.namespace}/{words.RETAINED_POLICIES}",
    )


def _none_to_retain(binding: Binding, name: str, why: str) -> Event:
    return events.policy_sync_failed(
        subject_of(binding),
        f"Policy {name!r} is not at CoreWeave and cannot be written, so nothing is retained, "
        f"although spec.deletionPolicy does not say Delete: {why}",
    )


def _abandoned(binding: Binding, issuer: Issuer | None) -> Event:
    """Tell what stays; a binding whose federation is gone has no name of it in its status."""
    name = (binding.status.get("policy") or {}).get("name")
    if name is None and issuer is not None:
        name = policy_name(issuer, binding.meta.namespace, binding.meta.name)
    return events.policy_abandoned(
        subject_of(binding),
        f"{f'Policy {name!r}' if name else 'Its policy'} is left at CoreWeave, because "
        "StorageFederation "
        f"{binding.spec.federation_name!r} and its API token are gone; remove it in the Console",
    )


def _waiting(accepted: Finding) -> Finding:
    """Tell that nothing is applied, and why: for a binding that asks for grants."""
    return Finding(
        Status.UNKNOWN,
        Reason.PENDING,
        f"No policy is kept while the binding is not accepted ({accepted.reason}).",
    )


def _said_synced(binding: Binding, wanted_digest: str) -> bool:
    """Tell whether this very policy was in force: then somebody else changed it since."""
    synced = recorded_condition(binding.status, ConditionType.POLICY_SYNCED)
    recorded = binding.status.get("policy") or {}
    return synced.get("status") == Status.TRUE and recorded.get("digest") == wanted_digest
