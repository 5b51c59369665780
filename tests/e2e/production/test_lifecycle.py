"""A release from beginning to end: installed, tested, upgraded, rolled back, removed."""

from __future__ import annotations

import base64
import datetime as dt
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from caios_testbed.cluster.operator_image import ensure_operator_image
from caios_testbed.cluster.progress import Progress
from caios_testbed.podload import pods
from caios_testbed.podload.load import PodLoad
from caios_testbed.podload.tally import table
from caios_testbed.product import CHECKOUT, CRDS, CommandError
from caios_testbed.release import CONTROLLER, NAME, WEBHOOK, WEBHOOK_AGAIN, Release, deployment
from e2e.production.full_run import (
    INJECT,
    LEASE,
    MANAGED,
    TLS_SECRET,
    Run,
    account,
    binding,
    pod,
    put_token,
    wait_for,
)
from e2e.production.previous import OLDER_TEXT, older_crds, previous_checkout, spec_of
from e2e.production.recording import Recording
from e2e.production.site import Site, merged
from issuing import issue_bundle

pytestmark = pytest.mark.timeout(600)
CONFIGURATION = "mutatingwebhookconfiguration"
DAY = dt.timedelta(days=1)


@pytest.fixture(autouse=True)
def nothing_left(site: Site) -> Iterator[None]:
    """Leave the cluster without the operator and its namespace, for whoever comes next."""
    yield
    if site.release.installed:
        site.release.uninstall()
    site.kubectl.run("delete", "namespace", NAME, "--ignore-not-found")


@pytest.fixture
def namespace(site: Site) -> Iterator[str]:
    """Yield a namespace of the test's own."""
    name = f"lifecycle-{uuid.uuid4().hex[:8]}"
    site.kubectl.run("create", "namespace", name)
    yield name
    site.kubectl.run("delete", "namespace", name, "--ignore-not-found", "--wait=false")


def run_of(site: Site, release: Release, namespace: str) -> Run:
    return Run(site, release, Recording(release), namespace)


def finalizers(site: Site, namespace: str, name: str) -> list[str]:
    """Return the finalizers of a binding, which must be there."""
    found: list[str] = site.get("fsb", name, f"--namespace={namespace}")["metadata"].get(
        "finalizers", []
    )
    return found


def is_injected(site: Site, namespace: str, name: str) -> bool:
    """Create a Pod of a ServiceAccount, and tell whether it was injected."""
    site.apply(pod(namespace, name, name, site.workload))
    return pods.injected(site.get("pod", name, f"--namespace={namespace}"))


def test_upgrade_and_rollback_refuse_and_miss_no_pod(
    site: Site, namespace: str, tmp_path: Path
) -> None:
    checkout = previous_checkout(tmp_path)
    image = ensure_operator_image(Progress(print), checkout)
    text = yaml.safe_dump_all(older_crds(checkout))
    site.kubectl.run("apply", "--server-side", "--force-conflicts", "-f", "-", manifest=text)
    before = replace(site.release, chart=checkout / "deploy" / "chart")
    before.install(site.values, image)
    site.apply(*pods.manifests(namespace))
    run = run_of(site, site.release, namespace)
    wait_for(lambda: run.reason(pods.BOUND.name), "Ready")
    wait_for(lambda: run.reason(pods.ANNOTATED.name), "Ready")

    # Also where nothing but tests changed since, all Pods are replaced.
    changed = {"webhook": {"podAnnotations": {"example.com/release": "next"}}}
    with PodLoad(site.cluster.url, site.cluster.pki, namespace, rate=20, clients=4) as load:
        with load.phase("upgrade"):
            load.wait(20, seconds=60)
            site.release.upgrade(merged(site.values, changed), site.operator)
            load.wait(50, seconds=60)
        crds = {name: spec_of(site.get("crd", name))["description"] for name in CRDS}
        with load.phase("rollback"):
            site.release.rollback()
            load.wait(50, seconds=60)

    Console(width=120).print(table(load.phases))
    assert [record for phase in load.phases for record in phase.wrong] == []
    assert OLDER_TEXT not in crds.values()


def test_helm_test_passes_and_else_says_what_is_wrong(site: Site) -> None:
    release = site.install(MANAGED)
    assert "injection works: a Pod in namespace default would get its identity" in release.test()

    site.kubectl.run("label", "namespace", "default", f"{INJECT}=false")
    try:
        with pytest.raises(CommandError) as failed:
            release.test()
    finally:
        site.kubectl.run("label", "namespace", "default", f"{INJECT}-")
    assert f'its label {INJECT} is "false"' in str(failed.value)
    assert f"kubectl label namespace default {INJECT}-" in str(failed.value)


def test_after_uninstall_nothing_holds_anything_up_and_all_is_taken_up_again(
    site: Site, namespace: str
) -> None:
    doomed = f"{namespace}-doomed"
    site.kubectl.run("create", "namespace", doomed)
    put_token(site)
    release = site.install(MANAGED)
    site.apply(
        *(account(where, "reader") for where in (namespace, doomed)),
        *(binding(where, "reader") for where in (namespace, doomed)),
    )
    for run in (run_of(site, release, where) for where in (namespace, doomed)):
        wait_for(partial(run.reason, "reader"), "Ready")
    policies = [
        site.get("fsb", "reader", f"--namespace={where}")["status"]["policy"]["name"]
        for where in (namespace, doomed)
    ]
    assert finalizers(site, namespace, "reader") != []

    said = release.uninstall()

    print(said)
    assert all(name in said for name in policies)
    assert site.get(CONFIGURATION, NAME) == {}
    assert not is_injected(site, namespace, "reader")
    for kind, name in (("lease", LEASE), ("secret", TLS_SECRET)):
        assert site.get(kind, name, f"--namespace={NAME}") == {}
    assert all(site.get("crd", name) for name in CRDS)
    assert finalizers(site, namespace, "reader") == []
    site.kubectl.run("delete", "namespace", doomed, "--timeout=60s")

    site.install(MANAGED)
    wait_for(lambda: bool(finalizers(site, namespace, "reader")), expected=True)
    # The Pod that was created in between is told of; everything else is as before.
    run = run_of(site, release, namespace)
    wait_for(partial(run.reason, "reader"), "PodsMissed")
    site.kubectl.run("delete", "pod", "reader", f"--namespace={namespace}")
    wait_for(partial(run.reason, "reader"), "Ready")
    adopted = site.get("fsb", "reader", f"--namespace={namespace}")["status"]["policy"]["name"]
    assert adopted == policies[0]


def test_without_hooks_the_webhook_configuration_is_collected_also_where_no_pod_starts(
    site: Site, namespace: str
) -> None:
    release = site.install(MANAGED)
    site.apply(account(namespace, "reader", **{INJECT: "true"}))
    for role in (WEBHOOK, WEBHOOK_AGAIN, CONTROLLER):
        missing = "*=caios-federation:there-is-no-such-image"
        where = f"--namespace={NAME}"
        site.kubectl.run("set", "image", deployment(role), missing, where)
        for replica in release.replicas(role):
            release.delete(replica)
    assert site.get(CONFIGURATION, NAME) != {}

    release.uninstall(hooks=False)

    wait_for(lambda: site.get(CONFIGURATION, NAME), {})
    assert not is_injected(site, namespace, "reader")


def test_a_certificate_of_somebody_else_serves(site: Site, namespace: str) -> None:
    hosts = [
        f"{service}.{NAME}.svc{domain}"
        for service in (f"{NAME}-webhook", f"{NAME}-webhook-again")
        for domain in ("", ".cluster.local")
    ]
    files = issue_bundle(hosts, dt.datetime.now(dt.UTC), DAY).files
    del files["ca.key"]
    put_token(site)
    site.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": "theirs", "namespace": NAME},
            "data": {name: base64.b64encode(held).decode() for name, held in files.items()},
        }
    )
    external = {"certificates": {"provider": "External", "secretName": "theirs"}}
    release = site.install(merged(MANAGED, external))
    site.apply(account(namespace, "reader", **{INJECT: "true"}))
    wait_for(lambda: run_of(site, release, namespace).reason("reader"), "Ready")
    assert is_injected(site, namespace, "reader")

    said = release.uninstall()
    print(said)
    assert f"Secret {NAME}/theirs with the serving certificate, which somebody else made" in said
    assert site.get("secret", "theirs", f"--namespace={NAME}") != {}


def test_kustomize_installs_the_same_and_its_removal_leaves_no_webhook_configuration(
    site: Site, namespace: str, tmp_path: Path
) -> None:
    overlay = copied_overlay(site, tmp_path)
    site.cluster.load_image(site.operator.tar)
    site.kubectl.run("apply", "--server-side", "--force-conflicts", "-f", CHECKOUT / "crds")
    site.kubectl.run("wait", "--for=condition=Established", "crd", *CRDS)
    try:
        site.kubectl.run("apply", "-k", overlay)
        site.release.wait_ready()
        site.release.publish_service()
        site.apply(account(namespace, "reader", **{INJECT: "true"}))
        wait_for(lambda: run_of(site, site.release, namespace).reason("reader"), "Ready")
        assert is_injected(site, namespace, "reader")
    finally:
        site.kubectl.run("delete", "-k", overlay)
    wait_for(lambda: site.get(CONFIGURATION, NAME), {})


def copied_overlay(site: Site, directory: Path) -> Path:
    """Return a copy of the example overlay with the image of this checkout."""
    source = CHECKOUT / "deploy" / "kustomize"
    overlay = directory / "overlay"
    shutil.copytree(source / "example", overlay)
    file = overlay / "kustomization.yaml"
    content = yaml.safe_load(file.read_text())
    for key in ("resources", "components"):
        content[key] = [
            os.path.relpath(source / name[3:], overlay) if name.startswith("../") else name
            for name in content[key]
        ]
    repository, _, tag = site.operator.reference.rpartition(":")
    (image,) = content["images"]
    image |= {"newName": repository, "newTag": tag}
    file.write_text(yaml.safe_dump(content))
    return overlay
