"""What is written to the Secret, and who is trusted for it."""

import datetime as dt

import pytest

from caios_federation.core.rotation import Step, due
from caios_federation.reconcile.certificates import (
    Lives,
    Plan,
    Published,
    Stored,
    parse_secret,
    plan_rotation,
    trust,
)
from caios_federation.reconcile.pki import (
    Authority,
    dated,
    issue_authority,
    pem_of,
    read_authority,
    read_certificates,
    read_pair,
    signer_of,
)
from issuing import issue_bundle, secret, verify

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
HOSTS = ["hook.caios.svc", "hook.caios.svc.cluster.local"]
LIVES = Lives(HOSTS, dt.timedelta(days=90), dt.timedelta(days=365))
BUNDLE = issue_bundle(HOSTS, NOW, LIVES.pair, LIVES.authority)
CAS = read_certificates(BUNDLE.ca)
IN_FORCE = Published(CAS)
CA = dated(CAS[0]).identity
OLD_CA = issue_authority(dt.timedelta(days=365), NOW).certificate


def stored(**files: bytes) -> Stored:
    """Return the Secret with BUNDLE, but for `files`, in which an underscore stands for a dot."""
    changed = {name.replace("_", "."): held for name, held in files.items()}
    return Stored("7", ours=True, files={**BUNDLE.files, **changed})


def plan(
    held: Stored,
    published: Published = IN_FORCE,
    at: dt.datetime = NOW,
    draft: Authority | None = None,
) -> Plan:
    return plan_rotation(at, held, published, LIVES, draft)


def after(held: Stored, made: Plan) -> Stored:
    return Stored("8", ours=True, files={**held.files, **made.files})


def test_what_is_in_order_is_not_written() -> None:
    kept = plan(stored())
    assert kept.files == {}
    assert kept.trusted == CAS
    assert kept.renewal == due(dated(BUNDLE.leaf))


def test_from_nothing_all_is_made_at_once() -> None:
    made = plan(Stored(), Published())
    assert set(made.files) == {"ca.crt", "ca.key", "tls.crt", "tls.key"}
    (leaf,) = read_certificates(made.files["tls.crt"])
    verify(leaf, made.trusted, HOSTS[0], NOW)
    assert read_pair(made.files["tls.crt"], made.files["tls.key"], HOSTS) == leaf
    assert read_authority(made.trusted, made.files["ca.key"]) is not None
    assert plan(after(Stored(), made), Published(made.trusted)).files == {}


@pytest.mark.parametrize("name", ["tls_crt", "tls_key"])
@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_a_spoilt_pair_is_signed_anew_by_the_ca_that_is_there(name: str, content: bytes) -> None:
    made = plan(stored(**{name: content}))
    assert made.decision.step is Step.SIGN
    assert set(made.files) == {"ca.crt", "tls.crt", "tls.key"}
    assert made.files["ca.crt"] == BUNDLE.ca


def test_a_pair_for_other_hosts_is_signed_anew_at_once() -> None:
    other = issue_bundle(["elsewhere.svc"], NOW, LIVES.pair, LIVES.authority)
    made = plan(Stored("7", ours=True, files=other.files), Published())
    (leaf,) = read_certificates(made.files["tls.crt"])
    verify(leaf, read_certificates(other.ca), HOSTS[1], NOW)


@pytest.mark.parametrize("name", ["ca_crt", "ca_key"])
@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_a_spoilt_ca_is_replaced_while_the_pair_serves_on(name: str, content: bytes) -> None:
    """Its signer is known from the webhook configuration, even where the Secret lost it."""
    held = stored(**{name: content})
    made = plan(held)
    assert made.decision.step is Step.NEW_AUTHORITY
    assert set(made.files) == {"ca.crt", "ca.key"}
    assert read_certificates(made.files["ca.crt"])[1:] == CAS
    verify(BUNDLE.leaf, made.trusted, HOSTS[0], NOW)
    assert plan(after(held, made), Published(made.trusted)).decision.step is Step.WAIT


def test_a_secret_that_was_deleted_leaves_the_published_cas_trusted() -> None:
    made = plan(Stored())
    assert made.decision.step is Step.START_OVER
    assert made.trusted[1:] == CAS
    verify(BUNDLE.leaf, made.trusted, HOSTS[0], NOW)


def test_a_renewal_of_the_pair_keeps_the_ca() -> None:
    at = due(dated(BUNDLE.leaf))
    assert plan(stored(), at=at).decision.step is Step.WAIT
    made = plan(stored(), Published(CAS, {CA}), at)
    assert set(made.files) == {"ca.crt", "tls.crt", "tls.key"}
    assert signer_of(read_certificates(made.files["tls.crt"])[0], CAS) == CAS[0]


def test_a_ca_is_recognized_by_its_key_wherever_it_stands() -> None:
    """An administrator may put another CA before it."""
    held = stored(ca_crt=pem_of([OLD_CA, *CAS]))
    assert plan(held).files == {}
    assert plan(held).trusted == [*CAS, OLD_CA]


def test_cas_that_are_over_leave_the_bundle() -> None:
    short = issue_authority(dt.timedelta(days=1), NOW).certificate
    assert trust(NOW, CAS, [short]) == [*CAS, short]
    assert trust(NOW + dt.timedelta(days=2), CAS, [short]) == CAS


def test_a_draft_is_used_instead_of_a_fresh_ca() -> None:
    first = plan(Stored())
    assert first.draft is not None
    again = plan(Stored(), draft=first.draft)
    assert again.trusted == first.trusted
    assert again.files["ca.key"] == first.files["ca.key"]
    late = plan(Stored(), at=NOW + dt.timedelta(days=300), draft=first.draft)
    assert late.draft not in (None, first.draft)


def test_a_secret_is_read_as_the_api_server_sends_it() -> None:
    body = secret(BUNDLE.files)
    body["metadata"]["resourceVersion"] = "7"
    assert parse_secret(body) == Stored("7", ours=True, files=BUNDLE.files)
    assert parse_secret(body).expires == BUNDLE.leaf.not_valid_after_utc
    assert parse_secret(body | {"immutable": True}).immutable
    assert not parse_secret(secret({}, ours=False)).ours


@pytest.mark.parametrize("data", [None, [], {}, {"tls.crt": "no base64!", "ca.crt": 1}])
def test_data_of_any_shape_holds_nothing(data: object) -> None:
    read = parse_secret({"metadata": None, "data": data})
    assert not any(read.files.values())
    assert (read.version, read.ours, read.authorities, read.expires) == ("", False, [], None)
