"""Trouble on demand, seen by a client."""

from __future__ import annotations

import json
import time

import pytest
import urllib3
from botocore.exceptions import ClientError

from component.coreweave.world import MINT, PRINCIPAL, World, token

POLICIES = "/v1/cwobject/access-policy"


def test_a_status_comes_in_the_usual_envelope(world: World) -> None:
    world.inject({"operation": "ListAccessPolicies", "status": 429, "retryAfterSeconds": 7})
    answer = world.call("GET", POLICIES)
    assert (answer.status, answer.json["code"], answer.headers["Retry-After"]) == (429, 8, "7")
    assert world.call("GET", "/v1beta1/auth/whoami").status == 200
    world.inject({"operation": "ListOIDCConfigs", "status": 503, "count": 1})
    answer = world.connect("ListOIDCConfigs", {})
    assert (answer.status, answer.json["code"]) == (503, "unavailable")
    assert world.connect("ListOIDCConfigs", {}).status == 200


def test_a_fault_before_leaves_nothing_behind_one_after_does(world: World) -> None:
    world.grant(MINT)
    world.inject({"operation": "CreateAccessKey*", "status": 500})
    assert world.exchange(token()).status == 500
    assert world.call("GET", "/v1/cwobject/access-key").json["accessKeyInfos"] == []
    world.inject({"operation": "CreateAccessKey*", "status": 500, "stage": "after"})
    assert world.exchange(token()).status == 500
    assert len(world.call("GET", "/v1/cwobject/access-key").json["accessKeyInfos"]) == 1


def test_bodies_can_be_garbage_truncated_or_empty(world: World) -> None:
    world.inject({"body": "garbage", "status": 502})
    answer = world.call("GET", POLICIES)
    assert (answer.status, answer.body.startswith(b"<html>")) == (502, True)
    world.inject({"body": "truncated"})
    answer = world.call("GET", POLICIES)
    assert answer.status == 200
    with pytest.raises(json.JSONDecodeError):
        _ = answer.json
    world.inject({"body": "empty", "status": 200})
    assert (world.call("GET", POLICIES).status, world.call("GET", POLICIES).body) == (200, b"")


def test_a_careless_error_repeats_the_token(world: World) -> None:
    world.inject({"operation": "CreateAccessKey*", "body": "echo-token", "status": 400})
    sent = token()
    assert sent in world.exchange(sent).json["message"]
    body = {"durationSeconds": 1, "orgId": "cw1234", "oidcToken": sent}
    path = "/v1/cwobject/temporary-credentials/oidc"
    assert sent in world.call("POST", path, body, authorization=None).json["message"]


@pytest.mark.parametrize("stage", ["before", "after"])
def test_connections_can_be_dropped(world: World, stage: str) -> None:
    world.inject(
        {"operation": "EnsureAccessPolicy", "dropConnection": True, "stage": stage, "count": 1}
    )
    with pytest.raises(urllib3.exceptions.ProtocolError):
        world.grant(MINT)
    written = len(world.call("GET", POLICIES).json["policies"])
    assert written == (1 if stage == "after" else 0)


def test_answers_can_be_late(world: World) -> None:
    world.inject({"operation": "ListAccessPolicies", "latencySeconds": 0.2})
    before = time.monotonic()
    assert world.call("GET", POLICIES).status == 200
    assert time.monotonic() - before >= 0.2


def test_s3_fails_in_its_own_words(world: World) -> None:
    world.grant("s3:*", MINT)
    client = world.s3(world.keys())
    world.inject({"operation": "S3.ListBuckets", "status": 503})
    with pytest.raises(ClientError) as error:
        client.list_buckets()
    assert error.value.response["Error"]["Code"] == "SlowDown"


def test_rules_are_shown_with_their_hits_and_removed(world: World) -> None:
    world.inject({"operation": "WhoAmI", "status": 503})
    world.call("GET", "/v1beta1/auth/whoami")
    (rule,) = world.call("GET", "/testbed/faults").json["rules"]
    assert (rule["operation"], rule["hits"]) == ("WhoAmI", 1)
    assert world.call("DELETE", "/testbed/faults").json["rules"] == []
    assert world.call("GET", "/v1beta1/auth/whoami").status == 200
    assert world.call("PUT", "/testbed/faults", {"rules": [{"status": 1}]}).status == 400
    assert world.call("GET", "/testbed/nothing").status == 404


def test_the_log_names_the_fault(world: World) -> None:
    world.inject({"operation": "WhoAmI", "status": 503})
    world.call("GET", "/v1beta1/auth/whoami")
    (entry,) = world.requests(operation="WhoAmI")
    assert (entry["status"], entry["fault"]) == (503, "WhoAmI: status 503, error before")


def test_the_log_can_be_filtered_and_cleared(world: World) -> None:
    world.exchange(token())
    assert len(world.requests(principal=PRINCIPAL, decision="denied")) == 1
    assert world.call("DELETE", "/testbed/requests").status == 200
    assert world.requests() == []
