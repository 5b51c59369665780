"""Whether injection is served is asked where the API server is told to call."""

import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import builders
from caios_federation.api.conditions import Finding, Reason, Status
from caios_federation.clients import errors
from caios_federation.reconcile.mirror import write_files
from caios_federation.reconcile.probe import probe_webhook, ready_url
from caios_federation.reconcile.webhook import render_webhook_configuration
from caios_federation.settings import (
    CertificateProvider,
    CertificateSettings,
    Settings,
    WebhookSettings,
)
from caios_testbed.cluster.ports import free_ports
from component.admission.serving import LONG, Serving, serving, until
from component.clients.api_server import always, failure, reply, scripted
from issuing import HOUR, Bundle, issue_bundle

NAME = "MutatingWebhookConfiguration caios-federation"
HEALED = "so no Pod is injected; the controller puts that right, or its log says why it cannot"


def issued(at: dt.datetime | None = None) -> Bundle:
    return issue_bundle(["127.0.0.1"], at or dt.datetime.now(dt.UTC))


def settings_for(port: int, **certificates: Any) -> Settings:  # noqa: ANN401  # any setting
    return Settings(
        webhook=WebhookSettings(url=f"https://127.0.0.1:{port}"),
        certificates=CertificateSettings(**certificates),
    )


def published(settings: Settings, bundle: Bundle) -> builders.Json:
    return dict(render_webhook_configuration(settings, bundle.ca))


async def probed(settings: Settings, body: builders.Json) -> Finding:
    """Ask about a webhook of which the API server has the configuration `body`."""
    async with scripted(always(lambda: reply(**body))) as api:
        return await probe_webhook(api.client, settings, patience_seconds=0)


@contextlib.asynccontextmanager
async def admission(directory: Path, bundle: Bundle, **settings: Any) -> AsyncIterator[Serving]:  # noqa: ANN401  # any setting
    """Run the admission server with the pair of `bundle`."""
    write_files(directory, {"tls.crt": bundle.certificate, "tls.key": bundle.key})
    async with serving(directory, **settings) as here:
        yield here


async def test_an_admission_server_that_is_ready_serves(tmp_path: Path) -> None:
    bundle = issued()
    async with admission(tmp_path, bundle) as here:
        settings = settings_for(here.port)
        assert await probed(settings, published(settings, bundle)) == Finding(
            Status.TRUE, Reason.SERVING, f"The webhook is ready at {here.url('/readyz')}"
        )


async def test_one_that_is_about_to_stop_does_not(tmp_path: Path) -> None:
    bundle = issued()
    async with admission(tmp_path, bundle, lame_duck_seconds=LONG) as here:
        settings = settings_for(here.port)
        here.task.cancel()

        async def draining() -> bool:
            return await here.ready() == 503

        await until(draining)
        assert await probed(settings, published(settings, bundle)) == Finding(
            Status.FALSE,
            Reason.NO_READY_REPLICA,
            f"No webhook is ready at {here.url('/readyz')}: the answer is 503; "
            "see kubectl get pods -n caios-federation",
        )
        here.task.cancel()  # once more, so that it does not wait


async def test_nobody_at_the_address_is_told_with_address_and_next_step() -> None:
    port = free_ports(1)[0]
    settings = settings_for(port)
    assert await probed(settings, published(settings, issued())) == Finding(
        Status.FALSE,
        Reason.NO_READY_REPLICA,
        f"No webhook is ready at https://127.0.0.1:{port}/readyz: the connection is refused; "
        "see kubectl get pods -n caios-federation",
    )


async def test_an_expired_certificate_is_told_with_where_to_look(tmp_path: Path) -> None:
    bundle = issued(dt.datetime.now(dt.UTC) - 2 * HOUR)
    async with admission(tmp_path, bundle) as here:
        settings = settings_for(here.port)
        assert await probed(settings, published(settings, bundle)) == Finding(
            Status.FALSE,
            Reason.CERTIFICATE_EXPIRED,
            f"The API server does not trust the webhook at {here.url('/readyz')}: its "
            "certificate, or that of its CA, has expired; Secret "
            "caios-federation/caios-federation-webhook-tls holds the pair, and the controller's "
            "log says, under the component certificates, why it was not renewed",
        )


@pytest.mark.parametrize(
    ("provider", "where"),
    [
        (CertificateProvider.EXTERNAL, "put a new pair and its ca.crt into Secret ops/hook-tls"),
        (
            CertificateProvider.CERT_MANAGER,
            "cert-manager keeps the pair and its ca.crt in Secret ops/hook-tls",
        ),
    ],
)
async def test_whose_certificate_somebody_else_keeps_is_told_where_it_belongs(
    tmp_path: Path, provider: CertificateProvider, where: str
) -> None:
    async with admission(tmp_path, issued()) as here:
        settings = settings_for(here.port, provider=provider, secret_name="hook-tls")
        settings = settings.model_copy(update={"namespace": "ops"})
        found = await probed(settings, published(settings, issued()))
        assert found.reason is Reason.CERTIFICATE_EXPIRED
        assert "is not signed by a CA of the caBundle" in found.message
        assert f"; {where}" in found.message


async def test_the_first_of_two_webhooks_is_asked_about_wherever_it_stands(tmp_path: Path) -> None:
    bundle = issued()
    async with admission(tmp_path, bundle) as here:
        settings = settings_for(here.port)
        body = published(settings, bundle)
        body["webhooks"] = body["webhooks"][::-1]
        assert (await probed(settings, body)).reason is Reason.SERVING


Change = Callable[[builders.Json], object]
WITHOUT: dict[str, Change] = {
    "has no webhook pods.caios.coreweave.com for the creation of Pods": lambda body: body[
        "webhooks"
    ].clear(),
    "has no caBundle that can be read": lambda body: body["webhooks"][0]["clientConfig"].pop(
        "caBundle"
    ),
}


@pytest.mark.parametrize("problem", WITHOUT)
async def test_a_configuration_that_lacks_something_is_told(problem: str) -> None:
    settings = settings_for(1)
    body = published(settings, issued())
    WITHOUT[problem](body)
    assert await probed(settings, body) == Finding(
        Status.FALSE, Reason.CONFIGURATION_MISSING, f"{NAME} {problem}, {HEALED}"
    )


@pytest.mark.parametrize("rules", [[], [{"operations": ["UPDATE"]}]])
async def test_a_webhook_that_is_called_for_nothing_is_missing(rules: list[Any]) -> None:
    settings = settings_for(1)
    body = published(settings, issued())
    body["webhooks"][0]["rules"] = rules
    assert (await probed(settings, body)).reason is Reason.CONFIGURATION_MISSING


@pytest.mark.parametrize("bundle", ["", "!", "AAAA", "bm9uZQ=="])
async def test_a_bundle_that_holds_no_ca_is_missing(bundle: str) -> None:
    settings = settings_for(1)
    body = published(settings, issued())
    body["webhooks"][0]["clientConfig"]["caBundle"] = bundle
    assert (await probed(settings, body)).reason is Reason.CONFIGURATION_MISSING


async def test_no_configuration_is_told() -> None:
    async with scripted(always(lambda: failure(404))) as api:
        assert await probe_webhook(api.client, Settings()) == Finding(
            Status.FALSE, Reason.CONFIGURATION_MISSING, f"{NAME} does not exist, {HEALED}"
        )


async def test_what_may_not_be_read_is_not_known() -> None:
    async with scripted(always(lambda: failure(403, "no"))) as api:
        found = await probe_webhook(api.client, Settings())
    assert (found.status, found.reason) == (Status.UNKNOWN, Reason.PENDING)
    assert found.message.startswith(f"{NAME} cannot be read: API server: ")


async def test_an_api_server_that_does_not_answer_is_left_to_the_queue() -> None:
    async with scripted(always(lambda: failure(503))) as api:
        with pytest.raises(errors.Unavailable):
            await probe_webhook(api.client, Settings())


def test_a_service_is_asked_by_the_name_that_the_api_server_verifies() -> None:
    called = published(Settings(namespace="ops"), issued())["webhooks"][0]["clientConfig"]
    assert ready_url(called) == "https://caios-federation-webhook.ops.svc:443/readyz"
    del called["service"]["port"]  # 443, unless it is said
    assert ready_url(called) == "https://caios-federation-webhook.ops.svc:443/readyz"


def test_a_webhook_behind_a_path_is_asked_there() -> None:
    settings = Settings(webhook=WebhookSettings(url="https://gate.example/caios/"))
    called = published(settings, issued())["webhooks"][0]["clientConfig"]
    assert ready_url(called) == "https://gate.example/caios/readyz"
