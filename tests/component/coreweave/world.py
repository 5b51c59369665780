"""An organization at the emulator, as its administrator, its issuer and its clients see it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import boto3
import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from joserfc import jwt
from joserfc.jwk import Key, RSAKey
from mypy_boto3_s3.client import S3Client

from caios_testbed.coreweave.app import Emulator, Options
from caios_testbed.coreweave.issuers import IssuerSource
from caios_testbed.coreweave.threaded import running

Style = Literal["virtual", "path"]
ISSUER = "https://oidc.cks.coreweave.com/id/8f1c"
SUBJECT = "system:serviceaccount:team-a:reader"
PRINCIPAL = f"role/{ISSUER}:{SUBJECT}"
ZONE = "US-EAST-04A"
FEDERATION = "coreweave.workload_federation.control_plane.v1beta1.WFControlPlaneService"
MINT = "cwobject:CreateAccessKeyOIDC"
KEY = RSAKey.generate_key(2048, {"kid": "first", "use": "sig", "alg": "RS256"})
OTHER_KEY = RSAKey.generate_key(2048, {"kid": "first", "use": "sig", "alg": "RS256"})
INVALID_TOKEN = {
    "code": 3,
    "message": "invalid request sent to auth endpoint, Invalid token",
    "details": [],
}


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:  # noqa: ANN401  # any JSON
        return json.loads(self.body)


@dataclass(frozen=True)
class Keys:
    """Credentials of S3."""

    access_key_id: str
    secret: str
    token: str = ""


class World:
    """Talks to one emulator from outside."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self._pool = urllib3.PoolManager()

    def close(self) -> None:
        self._pool.clear()

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        authorization: str | None = "",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request as the administrator, or with another Authorization, or `None`."""
        sent = {"Content-Type": "application/json", **(headers or {})}
        if authorization is not None:
            sent["Authorization"] = authorization or f"Bearer {self.emulator.api_token}"
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        answer = self._pool.request(
            method,
            self.emulator.url + path,
            body=content,
            headers=sent,
            retries=False,
            redirect=False,
        )
        return Answer(answer.status, answer.data, dict(answer.headers))

    def connect(self, method: str, body: object) -> Answer:
        return self.call("POST", f"/{FEDERATION}/{method}", body)

    def trust(self, issuer: str = ISSUER, audience: str = ISSUER) -> str:
        answer = self.connect(
            "CreateOIDCConfig", {"name": "cluster", "issuerUrl": issuer, "audience": audience}
        )
        assert answer.status == 200, answer.body
        uid: str = answer.json["config"]["uid"]
        return uid

    def grant(
        self,
        *actions: str,
        resources: tuple[str, ...] = ("*",),
        effect: str = "Allow",
        name: str = "granted",
        principal: str = PRINCIPAL,
    ) -> None:
        statement = {
            "name": "one",
            "effect": effect,
            "actions": list(actions),
            "resources": list(resources),
            "principals": [principal],
        }
        policy = {"version": "v1alpha1", "name": name, "statements": [statement]}
        answer = self.call("POST", "/v1/cwobject/access-policy", {"policy": policy})
        assert answer.status == 200, answer.body

    def exchange(self, token: str) -> Answer:
        """Do what an SDK does: the raw JWT as Authorization."""
        path = f"/v1/cwobject/temporary-credentials/oidc/{self.emulator.organization}"
        return self.call("GET", path, authorization=token)

    def keys(self) -> Keys:
        """Exchange a good token of the usual principal."""
        answer = self.exchange(token())
        assert answer.status == 200, answer.body
        found = answer.json
        return Keys(found["AccessKeyId"], found["SecretAccessKey"], found["Token"])

    def set(self, **knobs: object) -> None:
        answer = self.call("PATCH", "/testbed/settings", knobs)
        assert answer.status == 200, answer.body

    def advance(self, seconds: float) -> None:
        assert self.call("PUT", "/testbed/clock", {"offsetSeconds": seconds}).status == 200

    def inject(self, *rules: Mapping[str, object]) -> None:
        answer = self.call("PUT", "/testbed/faults", {"rules": list(rules)})
        assert answer.status == 200, answer.body

    def requests(self, **query: str) -> list[dict[str, Any]]:
        wanted = "&".join(f"{name}={value}" for name, value in query.items())
        found: list[dict[str, Any]] = self.call("GET", f"/testbed/requests?{wanted}").json[
            "requests"
        ]
        return found

    def s3(
        self, keys: Keys, *, tls: bool = False, style: Style = "virtual", region: str = ZONE
    ) -> S3Client:
        """Return boto3's client.

        Nothing here resolves `bucket.cwlota.com`, so the emulator is the client's HTTP proxy:
        requests reach it in absolute form, with the Host header that was signed. Over TLS the
        client says CONNECT to the emulator's tunnel.
        """
        client: S3Client = boto3.client(
            "s3",
            endpoint_url="https://cwobject.com" if tls else "http://cwlota.com",
            region_name=region,
            aws_access_key_id=keys.access_key_id,
            aws_secret_access_key=keys.secret,
            aws_session_token=keys.token or None,
            verify=str(self.emulator.ca_file) if tls else None,
            config=Config(
                proxies={"http": self.emulator.url, "https": self.emulator.proxy_url},
                s3={"addressing_style": style},
                retries={"total_max_attempts": 1},
                signature_version="s3v4",
            ),
        )
        return client

    def signed(self, method: str, url: str, keys: Keys) -> Answer:
        """Send a request that botocore has signed, which no client of its would send."""
        request = AWSRequest(method, url)
        credentials = Credentials(keys.access_key_id, keys.secret)
        S3SigV4Auth(credentials, "s3", ZONE).add_auth(request)
        with urllib3.ProxyManager(self.emulator.url) as pool:
            answer = pool.request(method, url, headers=dict(request.headers.items()))
            return Answer(answer.status, answer.data, dict(answer.headers))

    def aws(
        self, directory: Path, *arguments: str, tls: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run the AWS CLI as a Pod would have it: token file, exchange URL, config file."""
        jwt_file = directory / "token"
        jwt_file.write_text(token())
        config = directory / "config"
        endpoint = "https://cwobject.com" if tls else "http://cwlota.com"
        config.write_text(
            f"[default]\nendpoint_url = {endpoint}\ns3 =\n    addressing_style = virtual\n"
        )
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": self.emulator.credentials_url,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(jwt_file),
            "AWS_CONFIG_FILE": str(config),
            "AWS_REGION": ZONE,
            "AWS_DEFAULT_REGION": ZONE,
            "AWS_CA_BUNDLE": str(self.emulator.ca_file),
            "AWS_MAX_ATTEMPTS": "1",
            "HTTP_PROXY": self.emulator.url,
            "HTTPS_PROXY": self.emulator.proxy_url,
        }
        return subprocess.run(
            [Path(sys.executable).with_name("aws"), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


def token(key: Key = KEY, algorithm: str = "RS256", **claims: object) -> str:
    """Return a JWT as a cluster would issue it; a claim of `None` is left out."""
    now = int(time.time())
    everything = {
        "iss": ISSUER,
        "sub": SUBJECT,
        "aud": [ISSUER],
        "iat": now,
        "nbf": now,
        "exp": now + 3600,
        **claims,
    }
    header = {"alg": algorithm, "kid": key.kid}
    named = {name: value for name, value in everything.items() if value is not None}
    return jwt.encode(header, named, key, algorithms=[algorithm])


def key_set(*keys: Key) -> dict[str, Any]:
    return {"keys": [key.as_dict(private=False) for key in keys]}


@contextmanager
def organization(directory: Path, options: Options | None = None) -> Iterator[World]:
    """Run an emulator that knows the issuer's keys."""
    sources = {ISSUER: IssuerSource(keys=key_set(KEY))}
    chosen = options or Options()
    chosen = replace(chosen, issuers=chosen.issuers or sources, ca_directory=directory / "ca")
    with running(chosen) as emulator:
        world = World(emulator)
        try:
            yield world
        finally:
            world.close()
