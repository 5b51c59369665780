"""The organization at CoreWeave, as its administrator and the owner of the testbed see it."""

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import urllib3

from caios_testbed.coreweave.app import Emulator

Json = dict[str, Any]
POLICIES = "/v1/cwobject/access-policy"
FEDERATIONS = "/coreweave.workload_federation.control_plane.v1beta1.WFControlPlaneService"


@dataclass(frozen=True, slots=True)
class Change:
    """A policy that was stored at CoreWeave, or removed."""

    time: dt.datetime
    name: str
    policy: dict[str, Any] | None
    """The whole document; None for a removal."""


@dataclass(frozen=True, slots=True)
class Remote:
    """The emulator, as an administrator of the organization sees it."""

    emulator: Emulator
    pool: urllib3.PoolManager

    def call(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401  # any JSON
        """Send a request with the API token; return the JSON of the answer, which is a success."""
        answer = self.pool.request(
            method,
            self.emulator.url + path,
            body=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.emulator.api_token}",
                "Content-Type": "application/json",
            },
        )
        assert answer.status == 200, answer.data
        return json.loads(answer.data)

    def policies(self) -> dict[str, Any]:
        """Return every policy of the organization by name."""
        return {policy["name"]: policy for policy in self.call("GET", POLICIES)["policies"]}

    def put_policy(self, policy: Mapping[str, Any]) -> None:
        """Create or replace a policy, as a person in the Console would."""
        self.call("POST", POLICIES, {"policy": policy})

    def delete_policy(self, name: str) -> None:
        """Remove a policy."""
        self.call("DELETE", f"{POLICIES}/{name}")

    def faults(self, *rules: Mapping[str, Any]) -> None:
        """Have exactly these faults from now on."""
        self.call("PUT", "/testbed/faults", {"rules": list(rules)})

    @contextmanager
    def failing(self, *rules: Mapping[str, Any]) -> Iterator[None]:
        """Have exactly these faults for as long as the block takes."""
        self.faults(*rules)
        try:
            yield
        finally:
            self.faults()

    @contextmanager
    def knobs(self, **changes: object) -> Iterator[None]:
        """Have other knobs for as long as the block takes."""
        before = self.call("GET", "/testbed/settings")
        self.call("PATCH", "/testbed/settings", changes)
        try:
            yield
        finally:
            self.call("PATCH", "/testbed/settings", before)

    def requests(self, operation: str = "") -> list[dict[str, Any]]:
        """Return the log of requests, oldest first: of one operation, or of all."""
        query = f"?operation={operation}" if operation else ""
        found: list[dict[str, Any]] = self.call("GET", f"/testbed/requests{query}")["requests"]
        return found

    def changes(self) -> list[Change]:
        """Return every change of a policy since the start; no fault hits this."""
        found = self.call("GET", "/testbed/policies/history")["changes"]
        return [
            Change(dt.datetime.fromisoformat(each["time"]), each["name"], each["policy"])
            for each in found
        ]

    def configurations(self) -> list[Json]:
        """Return every OIDC configuration."""
        found: list[Json] = self.call("POST", f"{FEDERATIONS}/ListOIDCConfigs", {})["configs"]
        return found

    def trust(self, name: str, issuer: str, audience: str) -> None:
        """Enter an OIDC configuration, as a person in the Console would."""
        entered = {"name": name, "issuerUrl": issuer, "audience": audience}
        self.call("POST", f"{FEDERATIONS}/CreateOIDCConfig", entered)


def policy_like(*actions: str) -> Json:
    """Return a policy with one statement about everything, without a name."""
    statement = {
        "name": "by-hand",
        "effect": "Allow",
        "actions": list(actions),
        "resources": ["*"],
        "principals": ["coreweave/somebody"],
    }
    return {"version": "v1alpha1", "statements": [statement]}
