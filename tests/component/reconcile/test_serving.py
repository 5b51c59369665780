"""Configuration and certificate of the webhook: made, healed, renewed, whoever interferes."""

import base64
import contextlib
import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import structlog
from cryptography import x509

import builders
from caios_federation.clients import errors
from caios_federation.reconcile.pki import read_certificates
from caios_federation.reconcile.serving import Serving
from caios_federation.reconcile.webhook import published_bundle, render_webhook_configuration
from caios_federation.settings import (
    CertificateProvider,
    CertificateSettings,
    Settings,
    WebhookSettings,
)
from component.clients.api_server import ScriptedApi, failure, in_turn, reply, scripted
from component.reconcile.objects import CONFIGURATION, SECRET, SECRETS, Objects
from component.reconcile.world import NOW, Clock
from issuing import Bundle, issue_bundle, secret, verify

SETTINGS = Settings()
HOSTS = ["caios-federation-webhook.caios-federation.svc"]
ALL_HOSTS = [*HOSTS, f"{HOSTS[0]}.cluster.local"]
DAY = dt.timedelta(days=1)
APPLIED, CREATED, PATCHED = f"PATCH {CONFIGURATION}", f"POST {SECRETS}", f"PATCH {SECRET}"
OWNER = "/apis/rbac.authorization.k8s.io/v1/clusterroles/caios-federation-controller"


def settings_for(provider: str = "Operator", **webhook: Any) -> Settings:  # noqa: ANN401  # any setting
    return Settings(
        certificates=CertificateSettings(provider=CertificateProvider(provider)),
        webhook=WebhookSettings(**webhook),
    )


@dataclass(slots=True)
class Cluster:
    """An API server, who keeps things there, and what was logged."""

    objects: Objects
    api: ScriptedApi
    clock: Clock
    serving: Serving
    lines: list[structlog.typing.EventDict]

    def restart(self, settings: Settings = SETTINGS, taken_up_seconds: float = 0) -> None:
        """Have another process go on, which knows nothing."""
        self.serving = Serving(
            settings, self.api.client, self.clock, taken_up_seconds=taken_up_seconds
        )

    async def settle(self) -> None:
        """Look until nothing is written any more."""
        for _ in range(6):
            before = len(self.writes)
            await self.serving.reconcile()
            if len(self.writes) == before:
                return
        raise AssertionError(self.writes)

    @property
    def writes(self) -> list[str]:
        return [what for what in self.api.asked if not what.startswith("GET ")]

    @property
    def files(self) -> dict[str, bytes]:
        data = self.objects.stored[SECRET]["data"]
        return {name: base64.b64decode(text) for name, text in data.items()}

    @property
    def leaf(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.files["tls.crt"])

    @property
    def trusted(self) -> list[x509.Certificate]:
        first, *_ = self.objects.stored[CONFIGURATION]["webhooks"]
        return read_certificates(base64.b64decode(first["clientConfig"]["caBundle"]))

    def put(self, path: str, body: builders.Json) -> None:
        self.objects.put(path, body)

    def said(self, message: str) -> list[str]:
        return [str(line.get("err")) for line in self.lines if line["event"] == message]


@contextlib.asynccontextmanager
async def cluster(
    bundle: Bundle | None = None, settings: Settings = SETTINGS, *, ours: bool = True
) -> AsyncIterator[Cluster]:
    """Yield a cluster, where `bundle` is in the Secret, and published."""
    objects, clock = Objects(), Clock()
    async with scripted(objects) as api:
        with structlog.testing.capture_logs() as lines:
            here = Cluster(objects, api, clock, Serving(settings, api.client, clock), lines)
            here.restart(settings)
            if bundle:
                here.put(SECRET, secret(bundle.files, ours=ours))
                here.put(CONFIGURATION, stored(bundle.ca, settings))
            yield here


def issued(at: dt.datetime = NOW) -> Bundle:
    return issue_bundle(ALL_HOSTS, at, 90 * DAY, 365 * DAY)


def stored(ca: bytes, settings: Settings = SETTINGS) -> builders.Json:
    return {**render_webhook_configuration(settings, ca), "kind": "MutatingWebhookConfiguration"}


async def test_all_is_made_in_an_empty_cluster_and_published_first() -> None:
    async with cluster() as here:
        await here.serving.reconcile()
        assert here.writes == [APPLIED, CREATED]
        verify(here.leaf, here.trusted, HOSTS[0], NOW)
        made = here.objects.stored[SECRET]
        assert made["type"] == "kubernetes.io/tls"
        assert made["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "caios-federation"}
        assert set(made["data"]) == {"ca.crt", "ca.key", "tls.crt", "tls.key"}
        assert here.serving.expires == here.leaf.not_valid_after_utc
        await here.settle()
        assert here.writes == [APPLIED, CREATED]


async def test_what_is_in_order_is_looked_at_again_on_the_period() -> None:
    async with cluster(issued()) as here:
        assert await here.serving.reconcile() == 30
        assert here.writes == []
        assert here.serving.expires == NOW + 90 * DAY


@pytest.mark.parametrize(
    "changed", [{"failurePolicy": "Fail"}, {"timeoutSeconds": 29}, {"matchConditions": []}]
)
async def test_a_configuration_that_was_changed_is_healed(changed: dict[str, Any]) -> None:
    async with cluster(issued()) as here:
        here.objects.stored[CONFIGURATION]["webhooks"][0] |= changed
        await here.settle()
        assert here.writes == [APPLIED]


@pytest.mark.parametrize("key", ["namespaceSelector", "objectSelector"])
async def test_a_selector_that_somebody_narrowed_is_healed(key: str) -> None:
    async with cluster(issued()) as here:
        here.objects.stored[CONFIGURATION]["webhooks"][0][key]["matchLabels"] = {"a": "b"}
        await here.serving.reconcile()
        assert here.writes == [APPLIED]


@pytest.mark.parametrize("key", ["webhooks", "matchConditions"])
async def test_what_another_manager_added_is_replaced(key: str) -> None:
    """Applying does not take it away; labels and annotations of others stay."""
    bundle = issued()
    current = stored(bundle.ca)
    added_to = current if key == "webhooks" else current["webhooks"][0]
    added_to[key] = [*added_to[key], {"name": "somebody.elses.example"}]
    metadata = {"name": "caios-federation", "labels": {"a": "b"}, "annotations": {"c": "d"}}
    first, second = (
        current | {"metadata": metadata | {"resourceVersion": version}} for version in ("7", "8")
    )
    held = secret(bundle.files)
    held["metadata"]["resourceVersion"] = "1"
    answers = [lambda: reply(**first), lambda: reply(**held), lambda: reply(**second), reply]
    async with scripted(in_turn(*answers)) as api:
        with structlog.testing.capture_logs():
            await Serving(SETTINGS, api.client, Clock()).reconcile()
    *_, applied, replaced = api.seen
    assert api.asked[2:] == [APPLIED, f"PUT {CONFIGURATION}"]
    assert applied.json["metadata"]["resourceVersion"] == "7"
    assert replaced.json["webhooks"] == stored(bundle.ca)["webhooks"]
    assert replaced.json["metadata"] == metadata | {
        "resourceVersion": "8",
        "labels": {"a": "b", "app.kubernetes.io/managed-by": "caios-federation"},
    }


async def test_a_pair_that_is_due_is_renewed_by_the_ca_that_is_known() -> None:
    async with cluster(issued()) as here:
        old = here.leaf
        here.clock.now = NOW + 61 * DAY
        await here.settle()
        assert here.writes == [PATCHED]
        assert here.leaf != old
        verify(here.leaf, here.trusted, HOSTS[0], here.clock.now)


async def test_a_new_ca_is_published_before_its_pair_serves() -> None:
    async with cluster(issue_bundle(ALL_HOSTS, NOW, 90 * DAY, 100 * DAY)) as here:
        old_leaf, old_cas = here.leaf, here.trusted
        here.clock.now = NOW + 11 * DAY  # a pair would outlive the CA from the tenth day on
        here.restart(taken_up_seconds=3600)
        for _ in range(3):
            assert await here.serving.reconcile() == 3600
        assert here.writes == [APPLIED, PATCHED]
        assert here.leaf == old_leaf
        assert here.trusted[1:] == old_cas
        here.restart()
        await here.settle()
        assert here.writes == [APPLIED, PATCHED, PATCHED]
        verify(here.leaf, here.trusted[:1], HOSTS[0], here.clock.now)
        verify(old_leaf, here.trusted, HOSTS[0], here.clock.now)


async def test_who_takes_over_waits_anew_and_goes_on() -> None:
    async with cluster(issued()) as here:
        spoil(here, "ca.key")
        here.restart(taken_up_seconds=3600)
        await here.serving.reconcile()
        authority, serving = here.files["ca.key"], here.leaf
        here.restart(taken_up_seconds=3600)
        assert await here.serving.reconcile() == 3600
        assert (here.files["ca.key"], here.leaf) == (authority, serving)
        here.restart()
        await here.settle()
        assert here.files["ca.key"] == authority
        assert here.leaf != serving


def spoil(here: Cluster, *names: str) -> None:
    body = here.objects.stored[SECRET]
    data = body["data"] | {name: base64.b64encode(b"spoilt").decode() for name in names}
    here.put(SECRET, body | {"data": data})


@pytest.mark.parametrize(
    "names",
    [["ca.crt"], ["ca.key"], ["tls.crt"], ["tls.key"], ["ca.crt", "ca.key", "tls.crt", "tls.key"]],
    ids=str,
)
async def test_a_spoilt_secret_is_repaired_and_who_served_stays_trusted(names: list[str]) -> None:
    async with cluster(issued()) as here:
        in_memory = here.leaf
        spoil(here, *names)
        await here.settle()
        verify(here.leaf, here.trusted, HOSTS[0], NOW)
        verify(in_memory, here.trusted, HOSTS[0], NOW)
        await here.settle()


async def test_a_deleted_secret_is_made_again_and_who_served_stays_trusted() -> None:
    async with cluster(issued()) as here:
        in_memory = here.leaf
        del here.objects.stored[SECRET]
        await here.settle()
        assert here.writes == [APPLIED, CREATED]
        verify(here.leaf, here.trusted, HOSTS[0], NOW)
        verify(in_memory, here.trusted, HOSTS[0], NOW)


async def test_a_deleted_configuration_is_made_again_with_the_secrets_cas() -> None:
    async with cluster(issued()) as here:
        del here.objects.stored[CONFIGURATION]
        await here.settle()
        assert here.writes == [APPLIED]
        verify(here.leaf, here.trusted, HOSTS[0], NOW)


async def test_what_others_say_of_the_secret_is_kept() -> None:
    async with cluster(issued()) as here:
        body = here.objects.stored[SECRET]
        body["metadata"]["annotations"] = {"somebody/elses": "annotation"}
        body["data"]["more"] = "eA=="
        spoil(here, "tls.key")
        await here.settle()
        body = here.objects.stored[SECRET]
        assert body["metadata"]["annotations"] == {"somebody/elses": "annotation"}
        assert body["data"]["more"] == "eA=="


@pytest.mark.parametrize("refused", [CREATED, APPLIED])
async def test_a_write_that_is_refused_makes_no_new_ca_each_time(refused: str) -> None:
    async with cluster() as here:
        here.objects.refusals = {refused: 403}
        for _ in range(3):
            with pytest.raises(errors.PermissionDenied):
                await here.serving.reconcile()
        here.objects.refusals = {}
        await here.settle()
        assert len(here.trusted) == 1
        verify(here.leaf, here.trusted, HOSTS[0], NOW)


async def test_a_secret_that_somebody_wrote_meanwhile_is_not_overwritten() -> None:
    async with cluster(issued()) as here:
        spoil(here, "tls.key")
        version = here.objects.stored[SECRET]["metadata"]["resourceVersion"]
        here.objects.refusals = {PATCHED: 409}
        with pytest.raises(errors.WriteConflict):
            await here.serving.reconcile()
        assert here.api.seen[-1].json["metadata"]["resourceVersion"] == version


async def test_a_ca_that_is_replaced_meanwhile_never_goes_back() -> None:
    """What was read before somebody else published the newer CA is refused."""
    current = stored(issued().ca) | {
        "metadata": {"name": "caios-federation", "resourceVersion": "7"}
    }
    held = secret(issued().files)
    held["metadata"]["resourceVersion"] = "1"
    answers = [lambda: reply(**current), lambda: reply(**held), lambda: failure(409)]
    async with scripted(in_turn(*answers)) as api:
        with pytest.raises(errors.WriteConflict):
            await Serving(SETTINGS, api.client, Clock()).reconcile()
    assert api.seen[-1].json["metadata"]["resourceVersion"] == "7"


async def test_a_secret_of_somebody_else_is_published_left_alone_and_told_once() -> None:
    bundle = issued()
    async with cluster(bundle, ours=False) as here:
        del here.objects.stored[CONFIGURATION]
        here.clock.now = NOW + 61 * DAY
        for _ in range(3):
            await here.serving.reconcile()
        assert here.writes == [APPLIED]
        assert here.trusted == read_certificates(bundle.ca)
        (said,) = here.said("certificate Secret unusable")
        assert "lacks the label app.kubernetes.io/managed-by=caios-federation" in said
        assert "delete it" in said
        del here.objects.stored[SECRET]
        await here.settle()
        verify(here.leaf, here.trusted, HOSTS[0], here.clock.now)
        verify(bundle.leaf, here.trusted, HOSTS[0], here.clock.now)


async def test_an_immutable_secret_is_told_instead_of_written_in_vain() -> None:
    async with cluster(issued()) as here:
        here.objects.stored[SECRET]["immutable"] = True
        here.clock.now = NOW + 61 * DAY
        await here.settle()
        assert here.writes == []
        assert "it is immutable" in here.said("certificate Secret unusable")[0]


OTHERS = ["CertManager", "External"]


@pytest.mark.parametrize("provider", OTHERS)
async def test_the_ca_of_somebody_elses_secret_is_published(provider: str) -> None:
    bundle = issued()
    async with cluster(settings=settings_for(provider)) as here:
        here.put(SECRET, secret(bundle.files, ours=False))
        await here.settle()
        assert here.writes == [APPLIED]
        assert here.trusted == read_certificates(bundle.ca)
        assert here.serving.expires == bundle.leaf.not_valid_after_utc


@pytest.mark.parametrize("provider", OTHERS)
async def test_the_ca_that_somebody_else_rotates_overlaps_until_it_expires(provider: str) -> None:
    old, new = issued(), issued(NOW + DAY)
    async with cluster(old, settings_for(provider), ours=False) as here:
        here.put(SECRET, secret(new.files, ours=False))
        await here.settle()
        assert here.writes == [APPLIED]
        assert here.trusted == read_certificates(new.ca + old.ca)
        here.clock.now = NOW + 365 * DAY + DAY / 2
        await here.settle()
        assert here.trusted == read_certificates(new.ca)


@pytest.mark.parametrize("provider", OTHERS)
@pytest.mark.parametrize("files", [None, {"tls.crt": b"", "tls.key": b""}], ids=str)
async def test_without_a_ca_there_is_nothing_to_publish_yet(
    provider: str, files: dict[str, bytes] | None
) -> None:
    async with cluster(settings=settings_for(provider)) as here:
        if files is not None:
            here.put(SECRET, secret(files, ours=False))
        for _ in range(3):
            assert await here.serving.reconcile() == 5
        assert here.writes == []
        assert len(here.said("certificate Secret unusable")) == 1
        here.put(SECRET, secret(issued().files, ours=False))
        await here.settle()
        assert here.writes == [APPLIED]


async def test_a_configuration_is_healed_while_somebody_elses_secret_is_missing() -> None:
    async with cluster(issued(), settings_for("External"), ours=False) as here:
        before = here.trusted
        del here.objects.stored[SECRET]
        here.objects.stored[CONFIGURATION]["webhooks"][0]["timeoutSeconds"] = 29
        await here.settle()
        assert here.writes == [APPLIED]
        assert here.trusted == before


@pytest.mark.parametrize("path", [CONFIGURATION, SECRET])
async def test_what_may_not_be_read_is_told(path: str) -> None:
    async with cluster() as here:
        here.objects.refusals = {f"GET {path}": 403}
        with pytest.raises(errors.PermissionDenied):
            await here.serving.reconcile()
        assert here.writes == []


async def test_two_who_undo_each_others_writes_slow_down_with_one_line() -> None:
    async with cluster(issued()) as here:
        waits = []
        for _ in range(50):
            here.objects.stored[CONFIGURATION]["webhooks"][0]["timeoutSeconds"] = 29
            waits.append(await here.serving.reconcile())
        assert len(here.writes) == 10
        assert 0 < waits[-1] <= 6
        assert len(here.said("webhook configuration contested")) == 1


async def test_the_configuration_goes_with_the_cluster_role() -> None:
    settings = settings_for(owner="caios-federation-controller")
    async with cluster(issued(), settings) as here:
        for uid in ("u-1", "u-2"):
            here.put(OWNER, {"metadata": {"name": "caios-federation-controller", "uid": uid}})
            await here.settle()
            (reference,) = here.objects.stored[CONFIGURATION]["metadata"]["ownerReferences"]
            assert reference["uid"] == uid
        assert here.writes == [APPLIED, APPLIED]


@pytest.mark.parametrize("status", [403, 404])
async def test_an_owner_that_cannot_be_read_is_told_once_and_done_without(status: int) -> None:
    settings = settings_for(owner="caios-federation-controller")
    async with cluster(settings=settings) as here:
        here.objects.refusals = {f"GET {OWNER}": status}
        await here.settle()
        assert here.writes == [APPLIED, CREATED]
        assert len(here.said("webhook configuration has no owner")) == 1


async def test_no_key_is_logged() -> None:
    async with cluster() as here:
        await here.settle()
        spoil(here, "tls.crt", "ca.crt")
        await here.settle()
        text = str(here.lines)
        assert here.lines
        assert "PRIVATE" not in text
        assert published_bundle(here.objects.stored[CONFIGURATION])
