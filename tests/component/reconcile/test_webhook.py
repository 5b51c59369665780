"""The webhook configuration is applied when it differs, and healed."""

from pathlib import Path
from typing import Any

import pytest

import builders
from caios_federation.clients import errors
from caios_federation.reconcile.webhook import reconcile_webhook, render_webhook_configuration
from caios_federation.settings import CertificateSettings, Settings
from component.clients.api_server import failure, in_turn, reply, scripted
from component.reconcile.world import World, world

PATH = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/caios-federation"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "ca.crt").write_bytes(b"the CA")
    return Settings(certificates=CertificateSettings(directory=tmp_path))


def stored(settings: Settings, ca: bytes = b"the CA") -> builders.Json:
    rendered: builders.Json = dict(render_webhook_configuration(settings, ca))
    return rendered | {"kind": "MutatingWebhookConfiguration"}


async def reconcile(here: World, settings: Settings) -> None:
    await reconcile_webhook(settings, here.acting.client)


async def test_a_missing_configuration_is_applied(settings: Settings) -> None:
    async with world() as here:
        await reconcile(here, settings)
        assert here.writes == [f"PATCH {PATH}"]
        assert here.server.seen[-1].json["webhooks"] == stored(settings)["webhooks"]


async def test_one_that_is_as_it_should_be_is_not_written(settings: Settings) -> None:
    async with world() as here:
        here.api.stored[PATH] = stored(settings)
        await reconcile(here, settings)
        assert here.writes == []


@pytest.mark.parametrize(
    "changed", [{"failurePolicy": "Fail"}, {"timeoutSeconds": 29}, {"matchConditions": []}]
)
async def test_one_that_was_changed_is_healed(settings: Settings, changed: dict[str, Any]) -> None:
    async with world() as here:
        here.api.stored[PATH] = stored(settings)
        here.api.stored[PATH]["webhooks"][0] |= changed
        await reconcile(here, settings)
        assert here.writes == [f"PATCH {PATH}"]


async def test_a_new_ca_is_published(settings: Settings) -> None:
    async with world() as here:
        here.api.stored[PATH] = stored(settings, b"an old CA")
        await reconcile(here, settings)
        assert here.writes == [f"PATCH {PATH}"]


async def test_without_a_ca_there_is_nothing_to_publish_yet(tmp_path: Path) -> None:
    settings = Settings(certificates=CertificateSettings(directory=tmp_path))
    async with world() as here:
        with pytest.raises(errors.Unavailable, match=r"ca\.crt: No such file .*no CA to publish"):
            await reconcile(here, settings)
        assert here.writes == []


async def test_what_may_not_be_read_is_told(settings: Settings) -> None:
    async with world() as here:
        here.api.refusals = {"GET /caios-federation": 403}
        with pytest.raises(errors.PermissionDenied):
            await reconcile(here, settings)
        assert here.writes == []


@pytest.mark.parametrize("key", ["webhooks", "matchConditions"])
async def test_what_another_manager_added_is_replaced(settings: Settings, key: str) -> None:
    """Applying does not take it away; labels and annotations of others stay."""
    current = stored(settings)
    foreign = {"name": "somebody.elses.example"}
    added_to = current if key == "webhooks" else current["webhooks"][0]
    added_to[key] = [*added_to[key], foreign]
    metadata = {"name": "caios-federation", "labels": {"a": "b"}, "annotations": {"c": "d"}}
    answers = [
        current | {"metadata": metadata | {"resourceVersion": version}} for version in ("7", "8")
    ]
    async with scripted(in_turn(*(lambda a=a: reply(**a) for a in answers), reply)) as api:
        await reconcile_webhook(settings, api.client)
    _, applied, replaced = api.seen
    assert api.asked == [f"{method} {PATH}" for method in ("GET", "PATCH", "PUT")]
    assert applied.json["metadata"]["resourceVersion"] == "7"
    assert replaced.json["webhooks"] == stored(settings)["webhooks"]
    assert replaced.json["metadata"] == metadata | {
        "resourceVersion": "8",
        "labels": {"a": "b", "app.kubernetes.io/managed-by": "caios-federation"},
    }
    assert replaced.query == {"fieldManager": "caios-federation"}


@pytest.mark.parametrize("key", ["namespaceSelector", "objectSelector"])
async def test_a_selector_that_somebody_narrowed_is_healed(settings: Settings, key: str) -> None:
    async with world() as here:
        here.api.stored[PATH] = stored(settings)
        here.api.stored[PATH]["webhooks"][0][key]["matchLabels"] = {"a": "b"}
        await reconcile(here, settings)
        assert here.writes == [f"PATCH {PATH}"]


async def test_a_ca_that_is_replaced_meanwhile_never_goes_back(settings: Settings) -> None:
    """What was read before somebody else published the newer CA is refused."""
    current = stored(settings, b"an old CA") | {
        "metadata": {"name": "caios-federation", "resourceVersion": "7"}
    }
    async with scripted(in_turn(lambda: reply(**current), lambda: failure(409))) as api:
        with pytest.raises(errors.WriteConflict):
            await reconcile_webhook(settings, api.client)
    assert api.seen[-1].json["metadata"]["resourceVersion"] == "7"
