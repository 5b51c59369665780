"""`check-injection` against the product: what `helm test` runs."""

import os
import subprocess
import sys

from integration.product.conftest import World, annotated


def checked(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the verb as the administrator, with little patience."""
    return subprocess.run(
        [sys.executable, "-m", "caios_federation", "check-injection", *arguments],
        env={**os.environ, "KUBECONFIG": str(world.kubectl.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def accounts(world: World, namespace: str) -> set[str]:
    return {body["metadata"]["name"] for body in world.items("serviceaccount", namespace)}


def test_injection_that_works_is_told_and_nothing_is_left(world: World, namespace: str) -> None:
    ran = checked(world, f"--namespace={namespace}")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == (
        f"injection works: a Pod in namespace {namespace} would get its identity\n"
    )
    assert world.items("pod", namespace) == []
    assert accounts(world, namespace) <= {"default"}


def test_the_pod_passes_the_restricted_profile(world: World, namespace: str) -> None:
    level = "pod-security.kubernetes.io/enforce=restricted"
    world.kubectl.run("label", "namespace", namespace, level)
    assert checked(world, f"--namespace={namespace}").returncode == 0


def test_a_namespace_that_opted_out_is_a_finding(world: World, namespace: str) -> None:
    world.kubectl.run("label", "namespace", namespace, "caios.coreweave.com/inject=false")
    ran = checked(world, f"--namespace={namespace}")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == (
        f"Pods in namespace {namespace} are not injected: its label caios.coreweave.com/inject is "
        f'"false". To remove it: kubectl label namespace {namespace} caios.coreweave.com/inject-\n'
    )
    assert accounts(world, namespace) <= {"default"}


def test_a_service_account_of_the_users_is_checked_as_it_is(world: World, namespace: str) -> None:
    world.apply(annotated(namespace, "reader", inject="true", federation="missing"))
    ran = checked(world, f"--namespace={namespace}", "--service-account=reader", "--timeout=0")
    assert (ran.returncode, ran.stdout) == (1, "")
    lines = ran.stderr.splitlines()
    assert "StorageFederation 'missing' does not exist" in lines[0]
    assert f"a Pod in namespace {namespace} is not injected; it lacks:" in lines
    assert "  variable AWS_CONTAINER_CREDENTIALS_FULL_URI" in lines
    assert any(line.startswith(f"  kubectl get fsb -n {namespace}") for line in lines)
    assert "reader" in accounts(world, namespace)


def test_the_operators_own_namespace_is_refused(world: World) -> None:
    ran = checked(world, "--namespace=caios-federation")
    assert ran.returncode == 2
    assert "Pods of the operator's own namespace are never injected" in ran.stderr
