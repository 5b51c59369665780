"""Federations: their issuer, their API token, their trust, and how many bindings they have."""

from caios_federation.api.conditions import Finding, Reason, Status
from caios_federation.api.federation import Federation, PolicyManagement, TrustManagement
from caios_federation.api.vocabulary import API_VERSION, FEDERATION_KIND
from caios_federation.caches import Caches
from caios_federation.clients import errors
from caios_federation.clients.kubernetes import FEDERATION
from caios_federation.core.injection import effective_issuer
from caios_federation.core.observed import ObservedFederation
from caios_federation.core.principal import Issuer
from caios_federation.core.status import federation_status, is_ready, same_status
from caios_federation.observe import events
from caios_federation.observe.events import Event, Subject
from caios_federation.reconcile.acting import Acting
from caios_federation.reconcile.looks import Look
from caios_federation.reconcile.organizations import Remote, TokenMissing
from caios_federation.reconcile.orphans import sweep
from caios_federation.reconcile.probe import probe_webhook
from caios_federation.reconcile.trust import check_token, keep_trust, secret_missing

_ISSUER_FIRST = Finding(
    Status.UNKNOWN, Reason.PENDING, "Not looked at before the cluster's issuer is known."
)


async def reconcile_federation(caches: Caches, acting: Acting, name: str) -> float | None:
    """Bring the status of a federation up to date; return in how many seconds to look again.

    Raises ClientError.
    """
    federation = caches.federations.objects.get(name)
    if federation is None:
        acting.organizations.forget(name)
    if federation is None or federation.meta.deleting:
        await acting.post(FEDERATION_KIND, name, frozenset())
        return None
    issuer = effective_issuer(federation, caches.issuer)
    remote = acting.organizations.of(federation, issuer) if issuer else None
    look = await _look(acting, federation, issuer, remote)
    told, problem = look.events, None
    try:
        if not _token_is_bad(look):
            told |= await _sweep(caches, acting, federation, issuer, remote)
    except errors.ClientError as error:
        problem = error
    await acting.post(FEDERATION_KIND, name, told)
    await _write(caches, acting, federation, look)
    if problem is not None:
        raise problem
    return acting.looks.wait_seconds(look)


async def _look(
    acting: Acting, federation: Federation, issuer: Issuer | None, remote: Remote | None
) -> Look:
    """Return the last look at what surrounds the federation, or take another. Raises ClientError.

    Whoever changes the federation wants to see it looked at again.
    """
    name, of = federation.meta.name, seen_of(federation, issuer)
    if (recent := acting.looks.recent(name, of)) is not None:
        return recent
    token: Finding | None = None
    trust: Finding | None = None
    told = frozenset[Event]()
    observed = federation.spec.trust_management is not TrustManagement.UNMANAGED
    if issuer is None or remote is None:
        token = _ISSUER_FIRST if federation.spec.api_token_secret_name else None
        trust = _ISSUER_FIRST if observed else None
    else:
        token = await _check_token(acting, federation, remote)
        if observed and token.status is Status.TRUE:  # else the condition says that it waits
            outcome = await keep_trust(remote.api, federation, issuer)
            trust = outcome.finding
            if outcome.changed:
                subject = _subject_of(federation)
                told = frozenset({events.trust_registered(subject, trust.message)})
    injection = await probe_webhook(acting.client, acting.settings)
    look = Look(injection, token, trust, told)
    acting.looks.took(name, of, look)
    return look


def seen_of(federation: Federation, issuer: Issuer | None) -> object:
    """Return what a look is a look at: of another one nothing was seen yet."""
    return federation.meta.uid, federation.spec, issuer


async def _check_token(acting: Acting, federation: Federation, remote: Remote) -> Finding:
    """Tell whether CoreWeave knows the token in the Secret as it is now."""
    remote.token.forget()
    try:
        finding = await check_token(remote.api)
    except TokenMissing as error:
        name = str(federation.spec.api_token_secret_name)
        return secret_missing(acting.settings.namespace, name, str(error))
    if finding.status is Status.TRUE:
        remote.policies.retry()  # for the bindings that are looked at now, since it turned
    return finding


def _token_is_bad(look: Look) -> bool:
    """Tell whether asking with the API token would fail.

    The growing pauses after failures would then put off the next look at the token, and everything
    waits for that one.
    """
    return look.api_token is not None and look.api_token.status is not Status.TRUE


async def _sweep(
    caches: Caches,
    acting: Acting,
    federation: Federation,
    issuer: Issuer | None,
    remote: Remote | None,
) -> frozenset[Event]:
    managed = federation.spec.policy_management is PolicyManagement.MANAGED
    if remote is None or issuer is None or not managed:
        return frozenset()
    return await sweep(caches, acting, remote, issuer, _subject_of(federation))


async def _write(caches: Caches, acting: Acting, federation: Federation, look: Look) -> None:
    name = federation.meta.name
    bindings = [b for b in caches.bindings.objects.values() if b.spec.federation_name == name]
    seen = ObservedFederation(
        federation=federation,
        discovered_issuer=caches.issuer,
        discovery_problem=caches.issuer_problem,
        bindings_total=len(bindings),
        bindings_ready=sum(is_ready(binding.status) for binding in bindings),
        api_token=look.api_token,
        trust=look.trust,
        injection=look.injection,
    )
    status = federation_status(seen, now=acting.now())
    if same_status(status, federation.status):
        return
    try:
        body = await acting.client.apply_status(
            FEDERATION, {"metadata": {"name": name}, "status": status}
        )
    except errors.NotFound:
        return  # deleted meanwhile; the watch is about to say so
    acting.wrote(caches.federations.answered(body))
    acting.tell(FEDERATION_KIND, federation.meta, status, federation.status)


def _subject_of(federation: Federation) -> Subject:
    meta = federation.meta
    return Subject(API_VERSION, FEDERATION_KIND, "", meta.name, meta.uid)
