"""OIDC configurations, policies, keys and the rest of the control API."""

from __future__ import annotations

from pathlib import Path

import pytest

from caios_testbed.coreweave.app import Options
from component.coreweave.world import (
    FEDERATION,
    ISSUER,
    MINT,
    PRINCIPAL,
    World,
    organization,
    token,
)

POLICY = {
    "version": "v1alpha1",
    "name": "team-a",
    "statements": [
        {
            "name": "mint",
            "effect": "Allow",
            "actions": [MINT],
            "resources": ["*"],
            "principals": [PRINCIPAL],
        }
    ],
}


@pytest.mark.parametrize("authorization", [None, "Bearer CW-SECRET-wrong", "CW-SECRET", "Basic x"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1beta1/auth/whoami"),
        ("GET", "/v1/cwobject/access-policy"),
        ("POST", "/v1/cwobject/access-policy"),
        ("DELETE", "/v1/cwobject/access-policy/x"),
        ("GET", "/v1/cwobject/access-key"),
        ("POST", "/v1/cwobject/auth/can-i"),
        ("GET", "/v1/cwobject/temporary-credentials/api-token"),
    ],
)
def test_a_bad_api_token_is_unauthenticated(
    world: World, authorization: str | None, method: str, path: str
) -> None:
    answer = world.call(method, path, authorization=authorization)
    assert (answer.status, answer.json["code"]) == (401, 16)


def test_connect_errors_have_string_codes(world: World) -> None:
    path = f"/{FEDERATION}/ListOIDCConfigs"
    answer = world.call("POST", path, {}, authorization=None)
    assert (answer.status, answer.json["code"]) == (401, "unauthenticated")
    answer = world.call("POST", f"/{FEDERATION}/Unknown", {})
    assert (answer.status, answer.json["code"]) == (501, "unimplemented")
    answer = world.connect("GetOIDCConfig", {"uid": "none"})
    assert (answer.status, answer.json) == (
        404,
        {"code": "not_found", "message": "OIDC config not found"},
    )
    assert world.call("GET", path).status == 405
    assert world.call("POST", path, {}, headers={"Content-Type": "application/proto"}).status == 415


def test_configurations_live_and_change(world: World) -> None:
    created = world.connect(
        "CreateOIDCConfig",
        {
            "name": "second",
            "issuer_url": "https://other.example.com",
            "audience": "https://coreweave.com/iam",
            "description": "said in snake case",
            "unknown": "ignored",
        },
    ).json["config"]
    assert created["issuerUrl"] == "https://other.example.com"
    assert "deactivatedAt" not in created
    uid = created["uid"]
    changed = world.connect(
        "UpdateOIDCConfig",
        {"uid": uid, "updateMask": "description,audience", "audience": "a", "name": "ignored"},
    ).json["config"]
    assert changed["audience"] == "a"
    assert changed["name"] == "second"
    assert "description" not in changed
    off = world.connect("UpdateOIDCConfig", {"uid": uid, "updateMask": "active"}).json["config"]
    assert "deactivatedAt" in off
    listed = world.connect("ListOIDCConfigs", {}).json["configs"]
    assert [each["name"] for each in listed] == ["cluster", "second"]
    assert world.connect("DeleteOIDCConfig", {"uid": uid}).json == {}
    assert world.connect("DeleteOIDCConfig", {"uid": uid}).status == 404


@pytest.mark.parametrize(
    ("changes", "status", "code", "fault"),
    [
        ({"name": "no blanks"}, 400, "invalid_argument", "name"),
        ({"name": ""}, 400, "invalid_argument", "name"),
        ({"issuerUrl": "http://example.com"}, 400, "invalid_argument", "https"),
        ({"issuerUrl": "https://"}, 400, "invalid_argument", "host"),
        ({"issuerUrl": ""}, 400, "invalid_argument", "issuer_url"),
        ({"audience": ""}, 400, "invalid_argument", "audience"),
        ({"audience": "x" * 1025}, 400, "invalid_argument", "audience"),
        ({"description": "x" * 1025}, 400, "invalid_argument", "description"),
        ({"active": "yes"}, 400, "invalid_argument", "active"),
        ({"issuerUrl": ISSUER, "audience": ISSUER}, 409, "already_exists", "cluster"),
    ],
)
def test_configurations_are_validated(
    world: World, changes: dict[str, object], status: int, code: str, fault: str
) -> None:
    good = {"name": "n", "issuerUrl": "http://127.0.0.1:8080", "audience": "a"}
    answer = world.connect("CreateOIDCConfig", {**good, **changes})
    assert (answer.status, answer.json["code"]) == (status, code)
    assert fault in answer.json["message"]


@pytest.mark.parametrize(
    ("mask", "fault"),
    [("", "at least one path"), ("uid", "unknown path"), ("name", "name"), (None, "at least one")],
)
def test_update_masks_are_validated(world: World, mask: str | None, fault: str) -> None:
    uid = world.connect("ListOIDCConfigs", {}).json["configs"][0]["uid"]
    answer = world.connect("UpdateOIDCConfig", {"uid": uid, "updateMask": mask})
    assert (answer.status, answer.json["code"]) == (400, "invalid_argument")
    assert fault in answer.json["message"]


def test_the_configuration_api_can_be_missing(world: World) -> None:
    world.set(oidcConfigurationApi=False)
    assert world.connect("ListOIDCConfigs", {}).status == 404


def test_policies_are_replaced_listed_and_deleted(world: World) -> None:
    path = "/v1/cwobject/access-policy"
    for _ in range(2):
        assert world.call("POST", path, {"policy": POLICY}).status == 200
    assert world.call("GET", path).json == {"policies": [POLICY]}
    assert world.call("DELETE", f"{path}/team-a").status == 200
    answer = world.call("DELETE", f"{path}/team-a")
    assert (answer.status, answer.json["code"]) == (404, 5)
    assert world.call("GET", path).json == {"policies": []}


def test_every_document_that_was_ever_stored_can_be_looked_up(world: World) -> None:
    world.grant(MINT)
    world.grant(MINT, "s3:GetObject")
    world.inject({"operation": "EnsureAccessPolicy", "status": 503, "stage": "before", "count": 1})
    assert world.call("POST", "/v1/cwobject/access-policy", {"policy": {}}).status == 503
    assert world.call("DELETE", "/v1/cwobject/access-policy/granted").status == 200
    changes = world.call("GET", "/testbed/policies/history").json["changes"]
    stored = [
        change["policy"] and change["policy"]["statements"][0]["actions"] for change in changes
    ]
    assert stored == [[MINT], [MINT, "s3:GetObject"], None]
    assert {change["name"] for change in changes} == {"granted"}
    assert sorted(changes, key=lambda change: str(change["time"])) == changes


def test_a_policy_without_its_wrapper_is_refused(world: World) -> None:
    answer = world.call("POST", "/v1/cwobject/access-policy", POLICY)
    assert (answer.status, answer.json["code"]) == (400, 3)


@pytest.mark.parametrize("body", [b"{", b"[]", b"null"])
def test_what_is_no_json_object_is_refused(world: World, body: bytes) -> None:
    answer = world.call("POST", "/v1/cwobject/access-policy", body)
    assert (answer.status, answer.json["code"]) == (400, 3)


def test_policies_speak_connect_too(world: World) -> None:
    prefix = "/cwobject.v1.CWObject"
    assert world.call("POST", f"{prefix}/EnsureAccessPolicy", {"policy": POLICY}).status == 200
    assert world.call("POST", f"{prefix}/ListAccessPolicies", {}).json == {"policies": [POLICY]}
    assert world.call("POST", f"{prefix}/DeleteAccessPolicy", {"name": "team-a"}).status == 200
    answer = world.call("POST", f"{prefix}/DeleteAccessPolicy", {"name": "team-a"})
    assert (answer.status, answer.json["code"]) == (404, "not_found")


def test_unknown_paths_are_not_found(world: World) -> None:
    answer = world.call("GET", "/v1/cwobject/nothing")
    assert (answer.status, answer.json) == (404, {"code": 5, "message": "Not Found", "details": []})


def test_who_am_i(world: World) -> None:
    principal = world.call("GET", "/v1beta1/auth/whoami").json["principal"]
    assert sorted(principal) == ["orgUid", "uid"]


def test_a_limited_token_may_what_policies_say(tmp_path: Path) -> None:
    limited = "Bearer CW-SECRET-limited"
    options = Options(https=None, limited_api_tokens=("CW-SECRET-limited",))
    with organization(tmp_path, options) as world:
        path = "/v1/cwobject/access-policy"
        uid = world.call("GET", "/v1beta1/auth/whoami", authorization=limited).json["principal"][
            "uid"
        ]
        answer = world.call("GET", path, authorization=limited)
        assert (answer.status, answer.json["code"]) == (403, 7)
        world.grant("cwobject:ListAccessPolicy", principal=f"coreweave/{uid}")
        assert world.call("GET", path, authorization=limited).status == 200
        asked = {
            "actions": ["cwobject:ListAccessPolicy", "cwobject:EnsureAccessPolicy"],
            "resources": ["*"],
        }
        can = world.call("POST", "/v1/cwobject/auth/can-i", asked, authorization=limited).json
        assert [result["allowed"] for result in can["results"]] == [True, False]
        connect = f"/{FEDERATION}/ListOIDCConfigs"
        answer = world.call("POST", connect, {}, authorization=limited)
        assert (answer.status, answer.json["code"]) == (403, "permission_denied")


def test_keys_are_listed_without_secrets_and_revoked(world: World) -> None:
    world.grant(MINT)
    keys = world.keys()
    path = "/v1/cwobject/access-key"
    listed = world.call("GET", path)
    assert keys.secret.encode() not in listed.body
    (info,) = listed.json["accessKeyInfos"]
    assert (info["principalName"], info["status"]) == (PRINCIPAL, "ACTIVE")
    revoke = "/v1/cwobject/revoke-access-key/access-key"
    body = {"accessKeyId": keys.access_key_id}
    # Not by the holder: an OIDC token is no API token.
    for holder in (token(), f"Bearer {token()}"):
        assert world.call("POST", revoke, body, authorization=holder).status == 401
    assert world.call("POST", revoke, body).status == 200
    one = world.call("GET", f"{path}/{keys.access_key_id}").json["accessKeyInfo"]
    assert one["status"] == "DELETED"
    assert world.call("POST", revoke, {"accessKeyId": "CWNONE"}).status == 404


def test_reset_forgets_everything(world: World) -> None:
    world.grant(MINT)
    world.set(sessionTokens=True)
    assert world.call("POST", "/testbed/reset").status == 200
    assert world.connect("ListOIDCConfigs", {}).json == {"configs": []}
    assert world.call("GET", "/v1/cwobject/access-policy").json == {"policies": []}
    assert world.call("GET", "/testbed/settings").json["sessionTokens"] is False


def test_what_is_not_emulated_says_so(world: World) -> None:
    answer = world.call("GET", "/v1/cwobject/bucket-info")
    assert (answer.status, answer.json["code"]) == (501, 12)
