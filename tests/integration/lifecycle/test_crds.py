"""`crds apply` on a real API server, with the rights of the chart's hook."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from caios_testbed.product import CHECKOUT
from integration.lifecycle.conftest import CRDS, Site

RIGHTS = [
    {
        "apiGroups": ["apiextensions.k8s.io"],
        "resources": ["customresourcedefinitions"],
        "resourceNames": list(CRDS),
        "verbs": ["get", "create", "patch"],
    }
]
APPLY = ("crds", "apply")


def older() -> list[dict[str, Any]]:
    """Return the CRDs as an earlier release may have had them: a field and a column fewer."""
    bodies = [
        yaml.safe_load(path.read_text()) for path in sorted((CHECKOUT / "crds").glob("*.yaml"))
    ]
    for body in bodies:
        (version,) = body["spec"]["versions"]
        version["additionalPrinterColumns"].pop()
        del version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["audience"]
    return bodies


def schema(site: Site, name: str) -> dict[str, Any]:
    body = site.get("crd", name)
    assert body is not None
    (version,) = body["spec"]["versions"]
    found: dict[str, Any] = version
    return found


@pytest.fixture
def empty(site: Site) -> Iterator[Site]:
    """Yield a site without CRDs, and leave none: other tests could not replace a newer one."""
    site.free_bindings()
    delete = ("delete", "crd", "--ignore-not-found", "--wait", *CRDS)
    site.kubectl.run(*delete)
    yield site
    site.kubectl.run(*delete)


def test_crds_are_created_and_then_unchanged(empty: Site) -> None:
    kubeconfig = empty.grant(cluster=RIGHTS)
    first = empty.run(kubeconfig, *APPLY)
    assert (first.code, first.err) == (0, "")
    assert first.out.splitlines() == [f"CRD {name}: created" for name in CRDS]
    second = empty.run(kubeconfig, *APPLY)
    assert second.out.splitlines() == [f"CRD {name}: unchanged" for name in CRDS]


def test_crds_of_an_earlier_release_are_upgraded(empty: Site) -> None:
    # As Helm 3 installs them: created, with a field manager of its own.
    text = yaml.safe_dump_all(older())
    empty.kubectl.run("create", "--field-manager=helm", "-f", "-", manifest=text)
    ran = empty.run(empty.grant(cluster=RIGHTS), *APPLY)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [f"CRD {name}: upgraded" for name in CRDS]
    for name in CRDS:
        version = schema(empty, name)
        assert (
            "audience" in version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        )
        assert version["additionalPrinterColumns"][-1]["name"] == "Age"


def test_a_newer_crd_is_left_as_it_is(empty: Site) -> None:
    newer = older()
    (version,) = newer[1]["spec"]["versions"]
    newer[1]["spec"]["versions"] = [{**version, "storage": False}, {**version, "name": "v1"}]
    empty.apply(*newer)
    ran = empty.run(empty.grant(cluster=RIGHTS), *APPLY)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith(f"error: CRD {CRDS[1]}: the cluster's serves or has stored v1, which")
    properties = schema(empty, CRDS[0])["schema"]["openAPIV3Schema"]["properties"]
    assert "audience" not in properties["spec"]["properties"]


def test_what_is_printed_can_be_applied(empty: Site) -> None:
    printed = empty.run(empty.kubectl.kubeconfig, "crds", "print")
    empty.kubectl.run("apply", "--server-side", "-f", "-", manifest=printed.out)
    assert empty.run(empty.kubectl.kubeconfig, *APPLY).out.splitlines() == [
        f"CRD {name}: unchanged" for name in CRDS
    ]


def test_a_right_that_is_missing_is_told(site: Site) -> None:
    ran = site.run(site.grant(), *APPLY)
    assert (ran.code, ran.out) == (3, "")
    assert f"{CRDS[0]}: 403 customresourcedefinitions.apiextensions.k8s.io" in ran.err
