"""Clients of CoreWeave: impatient ones, with a token that must never be seen again."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from caios_federation.clients.coreweave import CoreWeave, Organization, connect
from caios_federation.core.trust import OIDCConfiguration
from caios_federation.settings import CoreWeaveSettings
from component.clients.api_server import Answer, Seen

API_TOKEN = "CW-SECRET-planted.token_of-an-administrator"
STATEMENT = {
    "name": "mint",
    "effect": "Allow",
    "actions": ["cwobject:CreateAccessKeyOIDC"],
    "resources": ["*"],
    "principals": ["role/https://oidc.example/id/1:system:serviceaccount:team-a:reader"],
}
POLICY = {"version": "v1alpha1", "name": "cks-489943f9-reader", "statements": [STATEMENT]}
CONFIGURATION = OIDCConfiguration("u-1", "cluster", "https://oidc.example/id/1", "aud", active=True)


def settings(**changes: Any) -> CoreWeaveSettings:  # noqa: ANN401  # any setting
    """Return settings with which nothing waits for longer than a test should."""
    impatient = {"longest_retry_seconds": 0.01, "requests_per_second": 10_000, "timeout_seconds": 5}
    return CoreWeaveSettings.model_validate({**impatient, **changes})


def owner_of(token: str) -> Callable[[], Awaitable[SecretStr]]:
    """Return what an Organization asks for its token."""

    async def give() -> SecretStr:
        return SecretStr(token)

    return give


@dataclass(frozen=True, slots=True)
class Client:
    """A client, and the organization that it talks to."""

    coreweave: CoreWeave
    api: Organization
    url: str

    @property
    def credentials_uri(self) -> str:
        return f"{self.url}/v1/cwobject/temporary-credentials/oidc/cw1234"


@asynccontextmanager
async def client(
    url: str,
    token: str = API_TOKEN,
    **changes: Any,  # noqa: ANN401  # any setting
) -> AsyncIterator[Client]:
    """Connect to the API at `url`."""
    async with connect(settings(**changes)) as coreweave:
        yield Client(coreweave, coreweave.organization(url, owner_of(token)), url)


@asynccontextmanager
async def scripted(
    answer: Answer,
    **changes: Any,  # noqa: ANN401  # any setting
) -> AsyncIterator[tuple[Client, list[Seen]]]:
    """Serve `answer` on loopback, and connect to it."""
    seen: list[Seen] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        came = Seen(
            request.method,
            request.raw_path,
            dict(request.query),
            dict(request.headers),
            await request.read(),
        )
        seen.append(came)
        return await answer(came)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with (
        TestServer(app) as server,
        client(str(server.make_url("")).rstrip("/"), **changes) as it,
    ):
        yield it, seen


Call = Callable[[Client, SecretStr], Awaitable[object]]
CALLS: dict[str, Call] = {
    "WhoAmI": lambda it, _: it.api.whoami(),
    "ListAccessPolicies": lambda it, _: it.api.policies(),
    "EnsureAccessPolicy": lambda it, _: it.api.ensure_policy(POLICY),
    "DeleteAccessPolicy": lambda it, _: it.api.delete_policy("cks-489943f9-reader"),
    "ListOIDCConfigs": lambda it, _: it.api.oidc_configurations(),
    "CreateOIDCConfig": lambda it, _: it.api.create_oidc_configuration("c", "https://i", "a", "d"),
    "UpdateOIDCConfig": lambda it, _: it.api.update_oidc_configuration(CONFIGURATION),
    "CreateAccessKeyFromContainerCreds": lambda it, token: it.coreweave.exchange(
        it.credentials_uri, token
    ),
}
"""Every operation, by the name that CoreWeave gives it."""


@contextmanager
def everything_logged() -> Iterator[list[str]]:
    """Collect what any logger says, at any level."""
    lines: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.getMessage()} {record.exc_info} {record.__dict__}")

    root = logging.getLogger()
    collector, before = Collector(), root.level
    root.addHandler(collector)
    root.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        root.removeHandler(collector)
        root.setLevel(before)
