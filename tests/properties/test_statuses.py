"""What we write fits the CRDs: one character too much, and the API server refuses it for ever."""

import re
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

import builders
import strategies
from builders import ISSUER, Json
from caios_federation.api.binding import Binding, parse_binding
from caios_federation.api.federation import parse_federation
from caios_federation.caches import Account
from caios_federation.core.account import Annotations, Wish, federation_problem, relevant, wish_of
from caios_federation.core.judgement import judge
from caios_federation.core.observed import Acted, ObservedBinding, ObservedFederation
from caios_federation.core.principal import Issuer
from caios_federation.core.status import binding_status, federation_status
from caios_federation.reconcile.service_account import render_binding
from contract.examples import crd
from contract.schema import root

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


@given(observed())
@example(saying(audience="x" * 1025))
def test_every_status_of_a_binding_fits_its_crd(seen: ObservedBinding) -> None:
    status = binding_status(judge(seen), Acted(), now=NOW)
    body = {"spec": {"serviceAccountName": "reader"}, "status": status}
    assert refusals(BINDING, body) == []


@given(strategies.federations(), discovered, wild, st.integers(0, 10_000))
def test_every_status_of_a_federation_fits_its_crd(
    raw: Json, issuer: Issuer | None, problem: str, bound: int
) -> None:
    seen = ObservedFederation(
        federation=parse_federation(raw),
        discovered_issuer=issuer,
        discovery_problem=problem,
        bindings_total=bound,
        bindings_ready=bound,
    )
    spec = {"organizationID": "cw1234", "region": "EU-01"}
    assert refusals(FEDERATION, {"spec": spec, "status": federation_status(seen, now=NOW)}) == []


@given(strategies.labels_of_dns, names, annotations)
@example("team-a", "reader", builders.words(inject="true", federation="My Fed"))
@example("team-a", "reader", builders.words(inject="true", federation="x" * 254))
def test_every_binding_of_an_annotated_service_account_fits_its_crd(
    namespace: str, name: str, says: Annotations
) -> None:
    wanted = wish_of(says) is Wish.INJECTION and federation_problem(says) is None
    body = dict(render_binding(namespace, name, Account("uid", says)))
    assert not wanted or refusals(BINDING, body) == []
