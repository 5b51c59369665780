"""Reading a StorageFederation."""

import pytest
from pydantic import ValidationError

from builders import federation
from caios_federation.api.federation import (
    PolicyManagement,
    TrustManagement,
    Verification,
    parse_federation,
)


def test_what_is_left_out_has_its_default() -> None:
    spec = parse_federation(federation()).spec
    assert (spec.organization_id, spec.region) == ("cw1234", "US-CENTRAL-05A")
    assert spec.token_expiration_seconds == 3600
    assert spec.policy_management is PolicyManagement.RENDERED
    assert spec.trust_management is TrustManagement.UNMANAGED
    assert spec.verification is Verification.DISABLED
    assert spec.endpoints.api == "https://api.coreweave.com"
    assert spec.endpoints.lota == "http://cwlota.com"
    assert spec.endpoints.public == "https://cwobject.com"
    assert (spec.issuer_url, spec.audience, spec.api_token_secret_name) == (None, None, None)
    assert spec.grant_rules == ()


def test_acronyms_are_written_in_one_case() -> None:
    raw = federation(issuerURL="https://x.example", apiTokenSecretName="s")
    spec = parse_federation(raw).spec
    assert spec.issuer_url == "https://x.example"
    assert spec.api_token_secret_name == "s"


@pytest.mark.parametrize("spec", [{}, {"organizationID": "cw1"}, {"region": "x"}])
def test_organization_and_region_are_required(spec: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        parse_federation(federation() | {"spec": spec})
