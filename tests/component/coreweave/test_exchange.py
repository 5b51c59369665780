"""Tokens that are accepted, tokens that are not, and what the answers look like."""

from __future__ import annotations

import base64
import datetime as dt
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from caios_testbed.coreweave.app import Options
from caios_testbed.coreweave.issuers import IssuerSource
from component.coreweave.world import (
    INVALID_TOKEN,
    ISSUER,
    KEY,
    MINT,
    OTHER_KEY,
    PRINCIPAL,
    World,
    key_set,
    organization,
    token,
)

POST = "/v1/cwobject/temporary-credentials/oidc"


def now() -> int:
    return int(time.time())


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def unsigned() -> str:
    return token().rpartition(".")[0] + "."


def algorithm_none() -> str:
    return encoded(b'{"alg":"none"}') + f".{token().split('.')[1]}."


def signed_with_the_public_key() -> str:
    # By hand: joserfc refuses to make such a token.
    head, payload, _ = token().split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    text = f"{encoded(json.dumps({**header, 'alg': 'HS256'}).encode())}.{payload}"
    return f"{text}.{encoded(hmac.digest(KEY.as_pem(private=False), text.encode(), 'sha256'))}"


def tampered() -> str:
    header, _, signature = token().split(".")
    claims = json.dumps({"iss": ISSUER, "sub": "x", "aud": ISSUER, "iat": 1, "exp": 2**40})
    return f"{header}.{encoded(claims.encode())}.{signature}"


BAD: dict[str, Callable[[], str]] = {
    "empty": lambda: "",
    "no JWT": lambda: "not-a-jwt",
    "three parts of nothing": lambda: "a.b.c",
    "Bearer before it": lambda: f"Bearer {token()}",
    "unsigned": unsigned,
    "algorithm none": algorithm_none,
    "HS256 with the public key": signed_with_the_public_key,
    "other key under the same id": lambda: token(OTHER_KEY),
    "unknown key": lambda: token(ECKey.generate_key("P-256", {"kid": "who"}), "ES256"),
    "tampered": tampered,
    "expired": lambda: token(exp=now() - 61),
    "not yet valid": lambda: token(nbf=now() + 120),
    "issued in the future": lambda: token(iat=now() + 120),
    "wrong audience": lambda: token(aud=["https://coreweave.com/iam"]),
    "no audience": lambda: token(aud=None),
    "audience that merely contains ours": lambda: token(aud=ISSUER + "x"),
    "wrong issuer": lambda: token(iss="https://oidc.cks.coreweave.com/id/other"),
    "issuer with a trailing slash": lambda: token(iss=ISSUER + "/"),
    "no subject": lambda: token(sub=None),
    "no expiry": lambda: token(exp=None),
    "expiry that is no number": lambda: token(exp="tomorrow"),
    "no issue time": lambda: token(iat=None),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_token_gets_the_one_answer(world: World, kind: str) -> None:
    world.grant("*", principal="*")
    answer = world.exchange(BAD[kind]())
    assert (answer.status, answer.json) == (400, INVALID_TOKEN)


def test_a_post_with_a_bad_token_gets_the_same_answer(world: World) -> None:
    world.grant("*", principal="*")
    body = {"durationSeconds": 900, "orgId": "cw1234", "oidcToken": token(OTHER_KEY)}
    answer = world.call("POST", POST, body, authorization=None)
    assert (answer.status, answer.json) == (400, INVALID_TOKEN)


def test_a_good_token_without_a_policy_is_denied(world: World) -> None:
    answer = world.exchange(token())
    assert (answer.status, answer.json) == (
        403,
        {"code": 7, "message": "permission denied", "details": []},
    )


@pytest.mark.parametrize("audience", [ISSUER, ["https://other", ISSUER]])
def test_a_good_token_gets_keys_for_fifteen_minutes(world: World, audience: object) -> None:
    world.grant(MINT)
    answer = world.exchange(token(aud=audience))
    assert answer.status == 200
    keys = answer.json
    assert sorted(keys) == sorted(
        ["AccessKeyId", "SecretAccessKey", "Token", "Expiration", "attributes", "multiAttributes"]
    )
    assert keys["AccessKeyId"].startswith("CW")
    assert len(keys["AccessKeyId"]) == 16
    assert keys["SecretAccessKey"].startswith("cwo")
    assert len(keys["SecretAccessKey"]) == 43
    assert keys["Token"] == ""
    left = dt.datetime.fromisoformat(keys["Expiration"]) - dt.datetime.now(dt.UTC)
    assert 890 < left.total_seconds() <= 900


def test_keys_on_an_elliptic_curve_are_fine(tmp_path: Path) -> None:
    key = ECKey.generate_key("P-256", {"kid": "curve"})
    sources = {ISSUER: IssuerSource(keys=key_set(KEY, key))}
    with organization(tmp_path, Options(https=None, issuers=sources)) as world:
        world.trust()
        world.grant(MINT)
        assert world.exchange(token(key, "ES256")).status == 200
        assert world.exchange(token()).status == 200


def test_clocks_may_differ_a_little(world: World) -> None:
    world.grant(MINT)
    assert world.exchange(token(exp=now() - 30, iat=now() - 600)).status == 200
    assert world.exchange(token(iat=now() + 30, nbf=now() + 30)).status == 200


def test_bearer_is_a_knob(world: World) -> None:
    world.grant(MINT)
    world.set(acceptBearerPrefix=True)
    assert world.exchange(f"Bearer {token()}").status == 200


def test_another_organization_is_not_known(world: World) -> None:
    world.grant(MINT)
    path = "/v1/cwobject/temporary-credentials/oidc/cw9999"
    answer = world.call("GET", path, authorization=token())
    assert (answer.status, answer.json) == (400, INVALID_TOKEN)


def test_a_post_chooses_the_lifetime_and_needs_no_authorization(world: World) -> None:
    world.grant(MINT)
    body = {
        "durationSeconds": 43200,
        "orgId": "cw1234",
        "oidcToken": token(),
        "attributes": {"name": "test-key"},
    }
    for authorization in (None, f"Bearer {token(OTHER_KEY)}"):
        answer = world.call("POST", POST, body, authorization=authorization)
        assert answer.status == 200
        key = answer.json
        assert sorted(key) == ["accessKeyId", "attributes", "expiry", "principalName", "secretKey"]
        assert (key["principalName"], key["attributes"]) == (PRINCIPAL, {"name": "test-key"})
        left = dt.datetime.fromisoformat(key["expiry"]) - dt.datetime.now(dt.UTC)
        assert 43190 < left.total_seconds() <= 43200


@pytest.mark.parametrize("duration", [None, 43201, -1, "900", 0, True])
def test_a_post_refuses_other_durations(world: World, duration: object) -> None:
    world.grant(MINT)
    body = {"durationSeconds": duration, "orgId": "cw1234", "oidcToken": token()}
    answer = world.call("POST", POST, body, authorization=None)
    assert (answer.status, answer.json["code"]) == (400, 3)
    assert "durationSeconds" in answer.json["message"]


def test_a_duration_of_zero_is_a_knob(world: World) -> None:
    world.grant(MINT)
    world.set(zeroDurationIsPermanent=True)
    body = {"durationSeconds": 0, "orgId": "cw1234", "oidcToken": token()}
    assert world.call("POST", POST, body).json["expiry"] == "1970-01-01T00:00:00Z"


def test_a_denied_mint_is_a_knob(world: World) -> None:
    world.grant(MINT)
    world.grant("cwobject:*", effect="Deny", name="no")
    assert world.exchange(token()).status == 403
    world.set(denyAppliesToMint=False)
    assert world.exchange(token()).status == 200


def test_an_inactive_configuration_trusts_nobody(world: World) -> None:
    world.grant(MINT)
    uid = world.connect("ListOIDCConfigs", {}).json["configs"][0]["uid"]
    world.connect("UpdateOIDCConfig", {"uid": uid, "updateMask": "active", "active": False})
    assert world.exchange(token()).json == INVALID_TOKEN
    world.connect("UpdateOIDCConfig", {"uid": uid, "updateMask": "active", "active": True})
    assert world.exchange(token()).status == 200


def test_an_api_token_is_exchanged_too(world: World) -> None:
    answer = world.call("GET", "/v1/cwobject/temporary-credentials/api-token")
    assert answer.status == 200
    assert answer.json["AccessKeyId"].startswith("CW")
    permanent = world.call("POST", "/v1/cwobject/access-key", {"durationSeconds": 0})
    assert permanent.json["expiry"] == "1970-01-01T00:00:00Z"


def test_the_log_says_why(world: World) -> None:
    world.exchange(token(aud="x"))
    world.exchange(token())
    entries = world.requests(operation="CreateAccessKeyFromContainerCreds")
    assert [(entry["status"], entry["decision"], entry["principal"]) for entry in entries] == [
        (400, "", ""),
        (403, "denied", PRINCIPAL),
    ]
    assert entries[0]["reason"] == "no active OIDC configuration has this issuer and audience"
    assert MINT in entries[1]["reason"]
