"""The certificates that the operator makes itself (peers checklist 4.11)."""

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.verification import VerificationError

from caios_federation.reconcile.pki import (
    issue_authority,
    issue_pair,
    pem_of,
    read_authority,
    read_certificates,
    read_pair,
    signer_of,
)
from issuing import issue_bundle, verify

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
LIFETIME = dt.timedelta(days=90)
HOSTS = ["hook.caios.svc", "hook.caios.svc.cluster.local", "10.0.0.5"]
SPOILT = [
    b"",
    b"garbage",
    b"\xff\x00",
    b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
    b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n",
]
BUNDLE = issue_bundle(HOSTS, NOW, LIFETIME)
CAS = read_certificates(BUNDLE.ca)


@pytest.mark.parametrize("host", HOSTS[:2])
def test_the_ca_vouches_for_the_names_of_the_service(host: str) -> None:
    verify(BUNDLE.leaf, CAS, host, NOW)


@pytest.mark.parametrize(
    ("host", "at"),
    [("other.caios.svc", NOW), (HOSTS[0], NOW + LIFETIME + dt.timedelta(seconds=1))],
)
def test_the_ca_vouches_for_no_other_name_and_no_other_time(host: str, at: dt.datetime) -> None:
    with pytest.raises(VerificationError):
        verify(BUNDLE.leaf, CAS, host, at)


def test_another_ca_does_not_vouch_for_it() -> None:
    other = read_certificates(issue_bundle(HOSTS, NOW).ca)
    with pytest.raises(VerificationError):
        verify(BUNDLE.leaf, other, HOSTS[0], NOW)
    assert signer_of(BUNDLE.leaf, other) is None


def test_a_certificate_is_valid_for_clocks_that_run_behind() -> None:
    verify(BUNDLE.leaf, CAS, HOSTS[0], NOW - dt.timedelta(minutes=4))


def test_an_address_is_named_as_one() -> None:
    names = BUNDLE.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.5"]
    assert names.get_values_for_type(x509.DNSName) == HOSTS[:2]


def test_the_keys_of_the_ca_and_of_the_pair_differ() -> None:
    key = load_pem_private_key(BUNDLE.key, None)
    assert key.public_key() == BUNDLE.leaf.public_key()
    assert key.public_key() != CAS[0].public_key()


def test_a_pair_never_outlives_its_ca() -> None:
    authority = issue_authority(dt.timedelta(days=1), NOW)
    pair = issue_pair(authority, HOSTS, LIFETIME, NOW)
    (leaf,) = read_certificates(pair.certificate)
    assert leaf.not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_what_was_issued_is_read_back() -> None:
    authority = read_authority(CAS, BUNDLE.ca_key)
    assert authority is not None
    assert authority.certificate == CAS[0]
    leaf = read_pair(BUNDLE.certificate, BUNDLE.key, HOSTS)
    assert leaf == BUNDLE.leaf
    assert leaf is not None
    assert signer_of(leaf, CAS) == CAS[0]


def test_a_pair_for_more_hosts_will_do_and_one_for_fewer_will_not() -> None:
    assert read_pair(BUNDLE.certificate, BUNDLE.key, HOSTS[:1]) == BUNDLE.leaf
    assert read_pair(BUNDLE.certificate, BUNDLE.key, [*HOSTS, "more.svc"]) is None


def test_parts_of_different_issues_do_not_fit() -> None:
    other = issue_bundle(HOSTS, NOW)
    assert read_pair(BUNDLE.certificate, other.key, HOSTS) is None
    assert read_authority(CAS, other.ca_key) is None


def test_a_serving_certificate_is_no_ca() -> None:
    assert read_authority([BUNDLE.leaf], BUNDLE.key) is None


@pytest.mark.parametrize("spoilt", SPOILT)
def test_what_is_no_certificate_or_key_is_passed_over(spoilt: bytes) -> None:
    assert read_certificates(spoilt) == []
    assert read_certificates(spoilt + BUNDLE.ca + spoilt) == CAS
    assert read_pair(spoilt, BUNDLE.key, HOSTS) is None
    assert read_pair(BUNDLE.certificate, spoilt, HOSTS) is None
    assert read_authority(CAS, spoilt) is None


def test_several_certificates_keep_their_order() -> None:
    several = [issue_authority(LIFETIME, NOW).certificate for _ in range(3)]
    assert read_certificates(pem_of(several)) == several
