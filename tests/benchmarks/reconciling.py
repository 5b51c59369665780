"""Bindings with grants, from cold to Ready, and after a change of their federation.

The controller works against a real API server and the emulator, which both say what they were
asked; policies are managed, and one rule of the federation allows them all.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import urllib3

from benchmarks import load, objects
from benchmarks.stage import samples, staged, until, yardstick
from builders import GROUP, Json
from caios_testbed.cluster.ports import free_ports
from caios_testbed.cluster.progress import Progress
from caios_testbed.coreweave.app import Emulator, Options
from caios_testbed.coreweave.issuers import IssuerSource
from caios_testbed.coreweave.threaded import running
from caios_testbed.product import NAMESPACE

SIZES = (100, 1_000, 5_000)
"""Bindings, each with a ServiceAccount of its own."""
_SECRET = "coreweave-api-token"  # its name
_LEASE = {
    "CAIOS_LEASE__DURATION_SECONDS": "15",
    "CAIOS_LEASE__RENEW_DEADLINE_SECONDS": "10",
    "CAIOS_LEASE__RETRY_SECONDS": "2",
}
"""As the chart has them: tests have shorter ones, which a busy machine may miss."""
_LOOK_SECONDS = 2.0
"""Between looks at the metrics, which take the controller 60 ms of 5,000 bindings."""
_REQUESTS = "caios_federation_kubernetes_requests_total"


@dataclass(frozen=True, slots=True)
class Work:
    """What it took until every binding was as it should be."""

    seconds: float
    cpu_s: float
    rss_mib: float
    """The most that was seen."""
    policy_lists: int
    policy_writes: int
    api_writes: int
    api_reads: int
    """Requests to the API server, but for Kopf's watches and the Lease."""


@dataclass(frozen=True, slots=True)
class Size:
    """A number of bindings."""

    bindings: int
    cold: Work
    """From the controller's start, with nothing at CoreWeave and no status."""
    changed: Work
    """After another rule was added to the federation, which every grant is held against."""


def measure(directory: Path, progress: Progress) -> Iterator[Size]:
    """Yield what each size came to, each on a control plane of its own."""
    for size in SIZES:
        with progress.step(f"{size} bindings from cold to Ready, and a changed federation"):
            yield _measured(directory / f"reconciling-{size}", size)


def _measured(directory: Path, size: int) -> Size:
    with staged(directory, Progress.quiet()) as stage, urllib3.PoolManager() as pool:
        keys = json.loads(stage.kubectl.run("get", "--raw", "/openid/v1/jwks"))
        options = Options(
            issuers={stage.plane.issuer: IssuerSource(keys=keys)}, ca_directory=directory / "ca"
        )
        with (
            running(options) as emulator,
            # In the place of webhooks on other machines: it answers the controller's probe.
            yardstick("protocol", stage.port, stage.certificates),
        ):
            organization = _Organization(emulator, pool)
            stage.apply(_secret(emulator.api_token), _federation(emulator.url))
            objects.create(stage.plane, objects.namespaces())
            objects.create(stage.plane, map(objects.account, range(size)))
            objects.create(stage.plane, (_binding(number) for number in range(size)))
            (port,) = free_ports(1)
            controller = stage.product("controller")
            begun = time.monotonic()
            settings = {"CAIOS_OBSERVABILITY__PORT": str(port), **_LEASE}
            controller.launch(settings, role="controller")
            watched = _Watched(controller.pid, port, organization)
            try:
                cold = watched.work(begun, size)
                begun = time.monotonic()
                stage.apply(_federation(emulator.url, _rule("another")))
                changed = watched.work(begun, size)
            finally:
                controller.stop()
    return Size(size, cold, changed)


def _binding(number: int) -> tuple[str, Json]:
    grant = {"name": "data", "buckets": [f"data-{number}"], "access": "ReadOnly"}
    return objects.binding(number, grants=[grant])


def _secret(token: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": _SECRET, "namespace": NAMESPACE},
        "stringData": {"token": token},
    }


def _federation(url: str, *rules: Json) -> Json:
    return {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "StorageFederation",
        "metadata": {"name": "default"},
        "spec": {
            "organizationID": "cw1234",
            "region": "US-CENTRAL-05A",
            "apiTokenSecretName": _SECRET,
            "policyManagement": "Managed",
            "endpoints": {"api": url},
            "grantRules": [_rule("everything"), *rules],
        },
    }


def _rule(name: str) -> Json:
    return {"name": name, "namespaceSelector": {}, "buckets": ["*"], "access": ["ReadOnly"]}


@dataclass(frozen=True, slots=True)
class _Organization:
    """The emulator's own record of what it was asked."""

    emulator: Emulator
    pool: urllib3.PoolManager

    def asked(self) -> Counter[str]:
        """Return how often each operation was asked for."""
        return Counter(entry.operation for entry in self.emulator.state.log)


class _Watched:
    """The controller's process, as its metrics show it."""

    def __init__(self, pid: int, port: int, organization: _Organization) -> None:
        self._pid, self._port, self._organization = pid, port, organization
        self._cpu = 0.0
        self._asked: Counter[str] = Counter()
        self._requests: Counter[str] = Counter()
        self._reconciled = 0.0

    def work(self, begun: float, size: int) -> Work:
        """Wait until all is done that began at `begun`; return what it took since the last time."""
        most = 0.0

        def done() -> bool:
            nonlocal most
            time.sleep(_LOOK_SECONDS)
            most = max(most, load.rss_mib(self._pid))
            seen = samples(self._port)
            depth = sum(count for name, count in seen.items() if "queue_depth" in name)
            ready = seen.get('caios_federation_bindings{ready="true"}', 0)
            return not depth and ready >= size and _reconciled(seen) >= self._reconciled + size

        until(done, f"{size} bindings are not Ready", 600)
        finished, self._reconciled = time.monotonic(), _reconciled(samples(self._port))
        cpu, asked, requests = load.cpu_seconds(self._pid), self._organization.asked(), self._sent()
        remote, sent = asked - self._asked, requests - self._requests
        used = cpu - self._cpu
        self._cpu, self._asked, self._requests = cpu, asked, requests
        reads = sum(count for verb, count in sent.items() if verb in {"get", "list", "watch"})
        return Work(
            seconds=finished - begun,
            cpu_s=used,
            rss_mib=most,
            policy_lists=remote["ListAccessPolicies"],
            policy_writes=remote["EnsureAccessPolicy"] + remote["DeleteAccessPolicy"],
            api_writes=sent.total() - reads,
            api_reads=reads,
        )

    def _sent(self) -> Counter[str]:
        """Return how many requests of each verb there were, but for those of the Lease."""
        sent: Counter[str] = Counter()
        for name, count in samples(self._port).items():
            if name.startswith(_REQUESTS) and 'resource="leases"' not in name:
                verb = name.partition('verb="')[2].partition('"')[0]
                sent[verb] += int(count)
        return sent


def _reconciled(seen: Mapping[str, float]) -> float:
    """Return how many times a binding was looked at."""
    name = 'caios_federation_reconcile_total{kind="FederatedStorageBinding"'
    return sum(count for each, count in seen.items() if each.startswith(name))
