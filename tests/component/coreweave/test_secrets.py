"""Nothing that the emulator writes down holds a credential."""

from __future__ import annotations

import json
import logging

import pytest
import urllib3
from botocore.exceptions import ClientError

from component.coreweave.world import MINT, OTHER_KEY, Keys, World, token


def test_neither_request_log_nor_log_lines_hold_a_secret(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="caios_testbed")
    caplog.set_level(logging.DEBUG, logger="aiohttp")
    world.grant("s3:*", MINT)
    world.set(sessionTokens=True)
    good, bad = token(), token(OTHER_KEY)
    world.exchange(bad)
    world.exchange("planted-in-the-header")
    answer = world.exchange(good).json
    keys = Keys(answer["AccessKeyId"], answer["SecretAccessKey"], answer["Token"])
    posted = {"durationSeconds": 60, "orgId": "cw1234", "oidcToken": good}
    path = "/v1/cwobject/temporary-credentials/oidc"
    second = world.call("POST", path, posted, authorization=None).json["secretKey"]
    world.call("GET", f"/v1beta1/auth/whoami?token={good}", authorization="Bearer planted-token")
    client = world.s3(keys)
    client.list_buckets()
    with pytest.raises(ClientError):
        world.s3(Keys(keys.access_key_id, "planted-secret", keys.token)).list_buckets()
    url = client.generate_presigned_url("list_buckets")
    with urllib3.ProxyManager(world.emulator.url) as pool:
        assert pool.request("GET", url).status == 200
    for body in ("echo-token", "truncated"):
        world.inject({"operation": "CreateAccessKey*", "body": body})
        world.exchange(good)
    written = json.dumps(world.requests()) + caplog.text + repr(world.emulator.state)
    planted = {
        "good token": good,
        "good token's signature": good.rpartition(".")[2],
        "bad token": bad,
        "header": "planted-in-the-header",
        "API token": world.emulator.api_token,
        "wrong API token": "planted-token",
        "secret key": keys.secret,
        "posted key": second,
        "session token": keys.token,
        "wrong secret": "planted-secret",
        "presigned signature": url.rpartition("X-Amz-Signature=")[2],
    }
    assert [name for name, value in planted.items() if value in written] == []
    assert "request served" in caplog.text
