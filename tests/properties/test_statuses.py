"""What we write fits the CRDs, and says nothing that the list of reasons does not have.

One character too much, and the API server refuses it for ever.
"""

import re
from dataclasses import replace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

import builders
import strategies
from builders import ISSUER, Json
from caios_federation.api.binding import Binding, parse_binding
from caios_federation.api.conditions import Finding, Reason, Status
from caios_federation.api.federation import TrustManagement, parse_federation
from caios_federation.caches import Account
from caios_federation.clients import errors
from caios_federation.clients.webhook_probe import Outcome as Answered
from caios_federation.clients.webhook_probe import Probed
from caios_federation.core.account import Annotations, Wish, federation_problem, relevant, wish_of
from caios_federation.core.judgement import judge
from caios_federation.core.observed import Acted, ObservedBinding, ObservedFederation
from caios_federation.core.pods import PodSurvey
from caios_federation.core.principal import Issuer
from caios_federation.core.status import binding_status, federation_status, leaving_status
from caios_federation.core.trust import OIDCConfiguration, judge_trust, wanted_trust
from caios_federation.core.verification import not_in_force, verified
from caios_federation.reconcile import probe, trust, verification
from caios_federation.reconcile.failures import deletion_finding, policy_finding, rights_finding
from caios_federation.reconcile.outcome import Outcome
from caios_federation.reconcile.service_account import render_binding
from caios_federation.reconcile.verification import Identity
from caios_federation.settings import Settings
from contract.examples import crd
from contract.schema import root
from listed import unlisted

NOW = "2026-11-24T12:00:00Z"
BINDING, FEDERATION = (
    Draft202012Validator(root(crd(kind)), format_checker=FormatChecker())
    for kind in ("FederatedStorageBinding", "StorageFederation")
)


def refusals(validator: Draft202012Validator, body: Json) -> list[str]:
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(body)]


def repeated(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return texts of which some are as long as annotations get."""
    return st.builds(lambda text, times: text * times, texts, st.sampled_from([1, 1, 1, 99, 2000]))


wild = repeated(st.text(max_size=20))
long_audiences = st.sampled_from(["x" * 1024, "ü" * 1025, "x" * 2000, "a\nb", ""])
annotations = st.fixed_dictionaries(
    {"audience": long_audiences | wild},
    optional={
        "inject": st.sampled_from(["true", "false", "ture"]) | wild,
        "federation": st.sampled_from(["default", "My Fed", "x" * 253, "x" * 254]) | wild,
        "token_expiration": st.sampled_from(["900", "1h"]) | wild,
    },
).map(lambda texts: relevant(builders.words(**texts)))
names = strategies.account_names.map(lambda name: re.sub(r"[.-]*[.][.-]*", ".", name))
audiences = st.text(min_size=1, max_size=8) | st.sampled_from(["x" * 1024, " "])
discovered = st.sampled_from([ISSUER] * 3 + [None]) | st.just(
    Issuer("https://i.example/" + "x" * 1006)
)


@st.composite
def bindings(draw: strategies.Draw) -> Binding:
    raw = builders.binding(draw(names))
    raw["metadata"]["namespace"] = draw(strategies.labels_of_dns)
    some: dict[str, st.SearchStrategy[Any]] = {
        "audience": st.none() | audiences,
        "client": st.just({}),
        "federationName": names,
        "grants": st.just([{"name": "data", "buckets": ["models"], "access": "ReadOnly"}]),
        "region": st.sampled_from(["EU-01"] * 7 + [5]),  # 5: a CRD of another version let it pass
    }
    raw["spec"].update({key: draw(given) for key, given in some.items() if draw(st.booleans())})
    return parse_binding(raw, ours=draw(st.booleans()))


@st.composite
def observed(draw: strategies.Draw) -> ObservedBinding:
    binding = draw(bindings())
    federated = draw(
        st.sampled_from([builders.federation()] * 3 + [None]) | strategies.federations()
    )
    return ObservedBinding(
        binding=binding,
        holder=draw(st.sampled_from([None, binding, binding, binding]) | bindings()),
        annotations=draw(st.one_of(annotations, annotations, st.none())),
        federation=parse_federation(federated) if federated else None,
        discovered_issuer=draw(discovered),
    )


def saying(**texts: str) -> ObservedBinding:
    """Return a binding in force whose ServiceAccount has these annotations."""
    binding = builders.parsed_binding()
    says = relevant(builders.words(**texts))
    return ObservedBinding(binding, binding, says, builders.parsed_federation(), ISSUER)


failures = st.builds(
    lambda kind, detail: kind(detail), st.sampled_from(builders.kinds_of(errors.ClientError)), wild
)
"""What clients raise: one of each kind, those of the API token too."""
FEDERATED = builders.parsed_federation()
APPLIED = Finding(Status.TRUE, Reason.SYNCED, "applied")
policies = st.one_of(
    st.sampled_from([None, APPLIED]),
    failures.map(lambda error: policy_finding(error, FEDERATED)),
    st.builds(
        rights_finding,
        wild.map(errors.PermissionDenied),
        st.sampled_from([Reason.SYNC_FAILED, Reason.DELETE_FAILED]),
    ),
)
leavings = st.builds(deletion_finding, failures, st.just(FEDERATED), retains=st.booleans())
surveys = st.builds(
    PodSurvey,
    total=st.integers(0, 3),
    federated=st.integers(0, 3),
    missed=st.lists(names, max_size=9).map(tuple),
    next_step=wild,
    problem=st.just("") | wild,
)


def tried(error: errors.ClientError, *, granted: bool, lately: bool) -> Finding:
    """Return what is said of an identity that `error` came of."""
    grants = [{"name": "data", "buckets": ["models"], "access": "ReadOnly"}] if granted else []
    binding = builders.parsed_binding(grants=grants)
    judged = judge(replace(saying(), binding=binding, holder=binding))
    assert judged.values is not None
    policy = Outcome(APPLIED if granted else None)
    identity = Identity(binding, FEDERATED, judged.values, {}, account_exists=True, policy=policy)
    found = verification._refusal(identity, error)
    if found is None:
        return verification._unanswered(identity, error)
    return not_in_force(found) if lately else found


acts = st.builds(
    Acted,
    policy=policies,
    credentials=st.none()
    | st.just(verified())
    | st.builds(tried, failures, granted=st.booleans(), lately=st.booleans()),
    verified_at=st.sampled_from([None, NOW]),
    pods=st.none() | surveys,
)


@given(observed(), acts)
@example(saying(audience="x" * 1025), Acted())
def test_every_status_of_a_binding_fits_its_crd_and_the_list(
    seen: ObservedBinding, acted: Acted
) -> None:
    status = binding_status(judge(seen), acted, now=NOW)
    body = {"spec": {"serviceAccountName": "reader"}, "status": status}
    assert refusals(BINDING, body) == []
    assert unlisted("FederatedStorageBinding", status) == []


@given(bindings(), leavings)
def test_every_status_of_a_binding_that_cannot_go_fits_its_crd_and_the_list(
    binding: Binding, finding: Finding
) -> None:
    status = leaving_status(binding, finding, now=NOW)
    body = {"spec": {"serviceAccountName": "reader"}, "status": status}
    assert refusals(BINDING, body) == []
    assert unlisted("FederatedStorageBinding", status) == []


tokens = st.one_of(
    st.sampled_from([None, Finding(Status.TRUE, Reason.VALID, "known")]),
    failures.map(trust._of_token),
    wild.map(lambda detail: trust.secret_missing("caios-federation", "coreweave", detail)),
)
trusts = st.one_of(
    st.none(),
    failures.map(lambda error: trust._failed(wanted_trust(FEDERATED, ISSUER), error, "looked up")),
    st.lists(
        st.builds(
            OIDCConfiguration,
            name=wild,
            issuer_url=st.just(str(ISSUER)) | wild,
            audience=st.just(str(ISSUER)) | wild,
            uid=st.just("uid"),
            active=st.booleans(),
        ),
        max_size=2,
    ).map(
        lambda found: (
            judge_trust(wanted_trust(FEDERATED, ISSUER), found, TrustManagement.OBSERVED).finding
        )
    ),
)
probes = st.none() | st.builds(
    lambda outcome, problem: probe._told(
        "https://webhook/readyz", Probed(outcome, problem), Settings()
    ),
    st.sampled_from(Answered),
    wild,
)


@st.composite
def observed_federations(draw: strategies.Draw) -> ObservedFederation:
    raw = draw(strategies.federations())
    if draw(st.booleans()):
        raw["spec"] |= {"apiTokenSecretName": "coreweave", "trustManagement": "Observed"}
    bound = draw(st.integers(0, 10_000))
    return ObservedFederation(
        federation=parse_federation(raw),
        discovered_issuer=draw(discovered),
        discovery_problem=draw(wild),
        bindings_total=bound,
        bindings_ready=bound,
        api_token=draw(tokens),
        trust=draw(trusts),
        injection=draw(probes),
    )


@given(observed_federations())
def test_every_status_of_a_federation_fits_its_crd_and_the_list(seen: ObservedFederation) -> None:
    status = federation_status(seen, now=NOW)
    spec = {"organizationID": "cw1234", "region": "EU-01"}
    assert refusals(FEDERATION, {"spec": spec, "status": status}) == []
    assert unlisted("StorageFederation", status) == []


def test_what_is_not_in_the_list_is_found() -> None:
    """Also what another condition, another status or another kind may say."""
    said = [
        {"type": "Accepted", "status": "False", "reason": "MintDenied"},
        {"type": "Accepted", "status": "Unknown", "reason": "Conflict"},
        {"type": "Ready", "status": "False", "reason": "NotRegistered"},
        {"type": "Ready", "status": "True", "reason": "Accepted"},
        {"type": "Ready", "status": "False", "reason": "MintDenied"},
    ]
    assert len(unlisted("FederatedStorageBinding", {"conditions": said})) == 4


@given(strategies.labels_of_dns, names, annotations)
@example("team-a", "reader", builders.words(inject="true", federation="My Fed"))
@example("team-a", "reader", builders.words(inject="true", federation="x" * 254))
def test_every_binding_of_an_annotated_service_account_fits_its_crd(
    namespace: str, name: str, says: Annotations
) -> None:
    wanted = wish_of(says) is Wish.INJECTION and federation_problem(says) is None
    body = dict(render_binding(namespace, name, Account("uid", says)))
    assert not wanted or refusals(BINDING, body) == []
