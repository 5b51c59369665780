"""`uninstall` on a real API server, with the rights of the chart's hook."""

import datetime as dt
import threading
from typing import Any

import pytest

from caios_testbed.cluster.waiting import eventually
from integration.lifecycle.conftest import CRDS, Ran, Rules, Site

FINALIZER = "caios.coreweave.com/policy"
THEIRS = "example.com/theirs"
API = "caios.coreweave.com/v1alpha1"
TLS = "caios-federation-webhook-tls"
LEASE = "caios-federation-controller"
CLUSTER: Rules = [
    {
        "apiGroups": ["admissionregistration.k8s.io"],
        "resources": ["mutatingwebhookconfigurations"],
        "resourceNames": ["caios-federation"],
        "verbs": ["get", "delete"],
    },
    {
        "apiGroups": ["caios.coreweave.com"],
        "resources": ["federatedstoragebindings"],
        "verbs": ["list", "patch"],
    },
    {
        "apiGroups": ["caios.coreweave.com"],
        "resources": ["storagefederations"],
        "verbs": ["list"],
    },
]
OWN: Rules = [
    {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "resourceNames": [LEASE],
        "verbs": ["get", "update", "delete"],
    },
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
    {
        "apiGroups": [""],
        "resources": ["secrets"],
        "resourceNames": [TLS],
        "verbs": ["get", "delete"],
    },
    {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": ["caios-federation-retained-policies"],
        "verbs": ["get"],
    },
]
SHORT = {
    "CAIOS_LEASE__DURATION_SECONDS": "2",
    "CAIOS_LEASE__RENEW_DEADLINE_SECONDS": "1.5",
    "CAIOS_LEASE__RETRY_SECONDS": "0.3",
}


def bound(site: Site, name: str, *finalizers: str) -> dict[str, Any]:
    return {
        "apiVersion": API,
        "kind": "FederatedStorageBinding",
        "metadata": {"name": name, "namespace": site.namespace, "finalizers": list(finalizers)},
        "spec": {"serviceAccountName": name},
    }


def federation() -> dict[str, Any]:
    spec = {
        "organizationID": "cw1234",
        "region": "US-CENTRAL-05A",
        "apiTokenSecretName": "coreweave-api-token",
    }
    return {
        "apiVersion": API,
        "kind": "StorageFederation",
        "metadata": {"name": "default"},
        "spec": spec,
    }


def webhook(site: Site) -> dict[str, Any]:
    """Return a configuration that holds up every Pod of the site while nobody answers."""
    service = {"namespace": site.namespace, "name": "gone", "path": "/mutate-pods"}
    labels = {"kubernetes.io/metadata.name": site.namespace}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "caios-federation"},
        "webhooks": [
            {
                "name": "pods.caios.coreweave.com",
                "clientConfig": {"service": service},
                "namespaceSelector": {"matchLabels": labels},
                "rules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["pods"],
                    }
                ],
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }


def secret(site: Site, *, ours: bool = True) -> dict[str, Any]:
    labels = {"app.kubernetes.io/managed-by": "caios-federation" if ours else "cert-manager"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": TLS, "namespace": site.namespace, "labels": labels},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": "planted-certificate", "tls.key": "planted-key"},
    }


def lease(site: Site, holder: str) -> dict[str, Any]:
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": LEASE, "namespace": site.namespace},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 2, "renewTime": now},
    }


def name_policy(site: Site, name: str) -> None:
    patch = f'{{"status":{{"policy":{{"name":"cks-1-{name}"}}}}}}'
    site.kubectl.run(
        "patch",
        "fsb",
        name,
        f"--namespace={site.namespace}",
        "--subresource=status",
        "--type=merge",
        f"--patch={patch}",
    )


def uninstalled(site: Site) -> Ran:
    return site.run(site.grant(cluster=CLUSTER, own=OWN), "uninstall", **SHORT)


def finalizers(site: Site, name: str) -> list[str] | None:
    body = site.get("fsb", name, f"--namespace={site.namespace}")
    return None if body is None else list(body["metadata"].get("finalizers", []))


@pytest.fixture
def installed(with_crds: Site) -> Site:
    """Return a site as a controller left it that was ended without warning."""
    site = with_crds
    site.free_bindings()
    site.apply(
        federation(),
        webhook(site),
        secret(site),
        lease(site, "controller-that-was-killed"),
        bound(site, "held", FINALIZER),
        bound(site, "shared", THEIRS, FINALIZER),
        bound(site, "free"),
        bound(site, "leaving", FINALIZER),
    )
    for name in ("held", "leaving"):
        name_policy(site, name)
    site.kubectl.run("delete", "fsb", "leaving", f"--namespace={site.namespace}", "--wait=false")
    return site


def test_nothing_is_left_that_holds_anything_up(installed: Site) -> None:
    site = installed
    assert finalizers(site, "leaving") == [FINALIZER]  # its deletion waits for a controller
    ran = uninstalled(site)
    assert (ran.code, ran.err) == (0, ""), ran.out
    assert site.get("mutatingwebhookconfiguration", "caios-federation") is None
    assert eventually(lambda: finalizers(site, "leaving") is None, 10)
    assert finalizers(site, "held") == []
    assert finalizers(site, "shared") == [THEIRS]
    own = f"--namespace={site.namespace}"
    assert site.get("secret", TLS, own) is None
    assert site.get("lease", LEASE, own) is None


def test_it_is_told_what_was_removed_and_what_stays(installed: Site) -> None:
    site = installed
    lines = uninstalled(site).out.splitlines()
    where = site.namespace
    removed = lines[1 : lines.index("")]
    assert removed == [
        "  MutatingWebhookConfiguration caios-federation",
        f"  finalizer {FINALIZER} of FederatedStorageBinding {where}/held",
        f"  finalizer {FINALIZER} of FederatedStorageBinding {where}/leaving",
        f"  finalizer {FINALIZER} of FederatedStorageBinding {where}/shared",
        f"  Secret {where}/{TLS}",
        f"  Lease {where}/{LEASE}",
    ]
    at = lines.index("    organization cw1234, StorageFederation default:")
    assert lines[at + 1 : at + 3] == [
        f"      cks-1-held of {where}/held",
        f"      cks-1-leaving of {where}/leaving",
    ]
    assert "planted" not in "".join(lines)
    # With the version: kubectl may have cached that another test's CRD had a newer one.
    assert site.get("storagefederations.v1alpha1.caios.coreweave.com", "default") is not None


def test_a_second_call_finds_nothing_to_do(installed: Site) -> None:
    uninstalled(installed)
    again = uninstalled(installed)
    assert (again.code, again.err) == (0, "")
    assert "of FederatedStorageBinding" not in again.out.partition("Left on purpose")[0]


def test_a_secret_that_no_federation_names_any_more_is_told_of_all_the_same(
    with_crds: Site,
) -> None:
    site, option = with_crds, "--api-token-secret=coreweave-api-token"
    ran = site.run(site.grant(cluster=CLUSTER, own=OWN), "uninstall", option, **SHORT)
    told = f"  Secret {site.namespace}/coreweave-api-token with CoreWeave's API token"
    assert ran.out.count(told) == 1


def test_a_certificate_of_somebody_else_stays(with_crds: Site) -> None:
    with_crds.apply(secret(with_crds, ours=False))
    ran = uninstalled(with_crds)
    assert ran.code == 0
    assert (
        f"Secret {with_crds.namespace}/{TLS} with the serving certificate, which somebody"
        in ran.out
    )
    assert with_crds.get("secret", TLS, f"--namespace={with_crds.namespace}") is not None


def test_crds_that_are_gone_are_fine(site: Site) -> None:
    site.free_bindings()
    site.kubectl.run("delete", "crd", "--ignore-not-found", "--wait", *CRDS)
    ran = uninstalled(site)
    assert (ran.code, ran.err) == (0, "")
    assert "kubectl delete crd" not in ran.out


def test_what_could_not_be_removed_is_named_with_the_command(installed: Site) -> None:
    site = installed
    reading = [{**rule, "verbs": [v for v in rule["verbs"] if v != "patch"]} for rule in CLUSTER]
    ran = site.run(site.grant(cluster=reading, own=OWN), "uninstall", **SHORT)
    assert ran.code == 1
    command = (
        f"    kubectl patch fsb -n {site.namespace} shared --type=merge "
        f"""-p '{{"metadata": {{"finalizers": ["{THEIRS}"]}}}}'"""
    )
    assert command in ran.out.splitlines()
    # The rest was done nevertheless.
    assert site.get("mutatingwebhookconfiguration", "caios-federation") is None


def test_while_a_controller_acts_nothing_is_removed(installed: Site) -> None:
    site = installed
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(0.3):
            site.apply(lease(site, "controller-that-lives"))

    living = threading.Thread(target=renew)
    living.start()
    try:
        ran = uninstalled(site)
    finally:
        ended.set()
        living.join()
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith(
        f"error: Lease {site.namespace}/{LEASE}: controller-that-lives has it and goes on acting"
    )
    assert site.get("mutatingwebhookconfiguration", "caios-federation") is not None
    assert finalizers(site, "held") == [FINALIZER]


def test_without_the_lease_nothing_is_removed(installed: Site) -> None:
    site = installed
    ran = site.run(site.grant(cluster=CLUSTER), "uninstall", **SHORT)
    assert (ran.code, ran.out) == (3, "")
    assert f"Lease {site.namespace}/{LEASE}: " in ran.err
    assert "nothing was removed" in ran.err
    assert finalizers(site, "held") == [FINALIZER]
