"""What is to be said of a federation."""

from collections.abc import Mapping

from caios_federation.api.conditions import ConditionType, Finding, Reason, Status
from caios_federation.core.errors import ParseError
from caios_federation.core.observed import ObservedFederation
from caios_federation.core.principal import parse_issuer


def judge_federation(seen: ObservedFederation) -> Mapping[ConditionType, Finding]:
    """Return what is to be said of each condition of a federation."""
    findings = {ConditionType.ISSUER_DISCOVERED: issuer_discovered(seen)}
    told = (
        (ConditionType.API_TOKEN_VALID, seen.api_token),
        (ConditionType.TRUST_REGISTERED, seen.trust),
        (ConditionType.INJECTION_SERVING, seen.injection),
    )
    return findings | {kind: finding for kind, finding in told if finding is not None}


def issuer_discovered(seen: ObservedFederation) -> Finding:
    """Tell whether there is an issuer, and where it comes from."""
    stated = seen.federation.spec.issuer_url
    if stated is not None:
        try:
            return Finding(
                Status.TRUE, Reason.CONFIGURED, f"spec.issuerURL says {parse_issuer(stated)}."
            )
        except ParseError as error:
            return Finding(Status.FALSE, Reason.DISCOVERY_FAILED, f"spec.issuerURL: {error}")
    if seen.discovered_issuer is not None:
        return Finding(
            Status.TRUE, Reason.DISCOVERED, f"The API server's issuer is {seen.discovered_issuer}."
        )
    return Finding(
        Status.FALSE,
        Reason.DISCOVERY_FAILED,
        f"{seen.discovery_problem}; set spec.issuerURL to the cluster's OIDC issuer",
    )
