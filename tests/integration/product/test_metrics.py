"""What a running operator shows of itself."""

from component.observability.scraping import Scrape
from integration.product.conftest import World, annotated


def scrape(world: World) -> Scrape:
    """Return what the operator shows now."""
    return Scrape.of(world.metrics())


def test_an_injected_pod_is_counted_and_no_name_is_told(world: World, namespace: str) -> None:
    world.apply(annotated(namespace, "counted-account"))
    before = scrape(world)("admission_requests_total", outcome="injected") or 0
    pod = world.dry_run_pod(namespace, "counted-account", name="counted-pod")
    assert pod["metadata"]["labels"]["caios.coreweave.com/federated"] == "true"
    seen = scrape(world)
    # Once, and once more where the API server invokes webhooks again.
    assert before < (seen("admission_requests_total", outcome="injected") or 0) <= before + 2
    assert seen("leader") == 1
    names = (namespace, "counted", "default", "kube-system")
    values = {value for value in seen.label_values() if any(name in value for name in names)}
    assert values == set()
