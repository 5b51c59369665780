"""What is to be said of a federation.

The order of its conditions is that of a repair: without an issuer there is nothing to trust, and
without an API token nobody to ask.
"""

from collections.abc import Mapping

from caios_federation.api.conditions import ConditionType, Finding, Reason, Status
from caios_federation.api.federation import TrustManagement
from caios_federation.core.errors import ParseError
from caios_federation.core.injection import effective_issuer
from caios_federation.core.observed import ObservedFederation
from caios_federation.core.principal import parse_issuer


def judge_federation(seen: ObservedFederation) -> Mapping[ConditionType, Finding]:
    """Return what is to be said of each condition of a federation."""
    findings = {ConditionType.ISSUER_DISCOVERED: issuer_discovered(seen)}
    told = (
        (ConditionType.API_TOKEN_VALID, api_token_valid(seen)),
        (ConditionType.TRUST_REGISTERED, trust_registered(seen)),
        (ConditionType.INJECTION_SERVING, seen.injection),
    )
    return findings | {kind: finding for kind, finding in told if finding is not None}


def issuer_discovered(seen: ObservedFederation) -> Finding:
    """Tell whether there is an issuer, and where it comes from."""
    stated = seen.federation.spec.issuer_url
    if stated is not None:
        try:
            issuer = parse_issuer(stated)
        except ParseError as error:
            return Finding(Status.FALSE, Reason.DISCOVERY_FAILED, f"spec.issuerURL: {error}")
        message = f"spec.issuerURL says {issuer}."
        if seen.discovered_issuer not in {None, issuer}:
            message += (
                f" The API server says {seen.discovered_issuer}; if its tokens say that too, "
                "remove spec.issuerURL, since CoreWeave will not accept them."
            )
        return Finding(Status.TRUE, Reason.CONFIGURED, message)
    if seen.discovered_issuer is not None:
        return Finding(
            Status.TRUE, Reason.DISCOVERED, f"The API server's issuer is {seen.discovered_issuer}."
        )
    return Finding(
        Status.FALSE,
        Reason.DISCOVERY_FAILED,
        f"{seen.discovery_problem}; set spec.issuerURL to the cluster's OIDC issuer",
    )


def api_token_valid(seen: ObservedFederation) -> Finding | None:
    """Tell whether CoreWeave knows the API token; None where the federation has none."""
    if seen.federation.spec.api_token_secret_name is None:
        return None
    return seen.api_token or _pending("CoreWeave was not asked about the API token yet.")


def trust_registered(seen: ObservedFederation) -> Finding | None:
    """Tell whether CoreWeave trusts the issuer; None where nobody asked to look."""
    spec = seen.federation.spec
    if spec.trust_management is TrustManagement.UNMANAGED or spec.api_token_secret_name is None:
        return None  # the CRD refuses to look without an API token
    if effective_issuer(seen.federation, seen.discovered_issuer) is None:
        return _pending("The issuer is not known yet; the condition IssuerDiscovered says why")
    if seen.trust is not None:
        return seen.trust
    if seen.api_token is not None and seen.api_token.status is not Status.TRUE:
        return _pending(
            "CoreWeave cannot be asked about the trust; the condition APITokenValid says why"
        )
    return _pending("CoreWeave was not asked about the trust yet.")


def _pending(message: str) -> Finding:
    return Finding(Status.UNKNOWN, Reason.PENDING, message)
