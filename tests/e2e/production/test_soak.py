"""Four hours of the operator's life in some minutes: it holds in the end what it held before."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from caios_testbed.cluster.api import Api
from caios_testbed.cluster.waiting import eventually
from caios_testbed.flatness import Change
from caios_testbed.podload import pods
from caios_testbed.podload.load import PodLoad
from caios_testbed.podload.tally import table
from caios_testbed.release import CONTROLLER, PORT, WEBHOOK, WEBHOOK_AGAIN, Release, Replica, Values
from caios_testbed.watching import Watched, gauges_of, watching
from e2e.production.churn import Churn
from e2e.production.full_run import LEASE, MANAGED, put_token
from e2e.production.site import Site, merged

LOAD, LIVES = "load", "lives"
"""Namespaces of Pods with lasting identities, and of identities that come and go."""
RATE = 15.0
PODS = 4800
"""Pods that are created while it is watched: one every three seconds of four hours."""
WARM_PODS = 1500
BREAK_SECONDS = 20.0
MOVE_SECONDS = 30.0
DEADLINE_SECONDS = 180.0
LONGEST_SECONDS = 1500.0
PERIODS: Values = {
    "CAIOS_ADMISSION__TLS_POLL_SECONDS": 0.1,
    "CAIOS_CACHES__AUDIT_PERIOD_SECONDS": 5,
    "CAIOS_CERTIFICATES__CA_LIFETIME_SECONDS": 240,
    "CAIOS_CERTIFICATES__CHECK_SECONDS": 0.5,
    "CAIOS_CERTIFICATES__LIFETIME_SECONDS": 120,
    "CAIOS_LEASE__DURATION_SECONDS": 5,
    "CAIOS_LEASE__RENEW_DEADLINE_SECONDS": 3,
    "CAIOS_LEASE__RETRY_SECONDS": 0.05,
    "CAIOS_RECONCILE__MISSED_SECONDS": 1,
    "CAIOS_RECONCILE__PROBE_SECONDS": 1,
    "CAIOS_RECONCILE__RESYNC_SECONDS": 5,
    "CAIOS_VERIFICATION__PERIOD_SECONDS": 10,
    "CAIOS_VERIFICATION__RETRY_SECONDS": 5,
}
GAUGES = ("caios_federation_asyncio_tasks", "caios_federation_leader")
TASKS, LEADS = GAUGES
EXPIRY = "caios_federation_certificate_expiry_timestamp_seconds"
SLACK: Mapping[str, float] = {"rss": 0}
FEW = 3.0
"""By how much a small whole number may have grown: of tasks, threads, connections, descriptors."""
SPARKS = "▁▂▃▄▅▆▇█"

PROBER = """
import collections, http.client, json, sys, time
counts = collections.Counter()
paths = ["/readyz"] * 15 + ["/healthz"] * 3 + ["/metrics"]
for _ in range(480):
    due = time.monotonic() + 0.6
    for path in paths:
        for host in sys.argv[2:]:
            connection = http.client.HTTPConnection(host, int(sys.argv[1]), timeout=10)
            try:
                connection.request("GET", path)
                counts[path] += connection.getresponse().status in (200, 503)
            except OSError:
                counts["failed"] += 1
            connection.close()
    time.sleep(max(0, due - time.monotonic()))
print(json.dumps(counts))
"""
"""Asks as often as kubelet and Prometheus do in four hours: each 2 s, 10 s and 30 s, on a new
connection each time."""

pytestmark = pytest.mark.timeout(2400)  # on the busiest machine; 9 minutes on most


@pytest.fixture(scope="module")
def values(site: Site) -> Values:
    """Return values with everything switched on, and everything that has a period in motion."""
    put_token(site)
    return merged(
        MANAGED,
        {
            "controller": {"replicas": 2},
            "verification": {"enabled": True},
            "settings": PERIODS,
        },
    )


@dataclass(slots=True)
class Subject:
    """One process of the operator."""

    role: str
    replica: Replica
    api: Api
    path: str
    watched: Watched = field(init=False)
    expiries: set[float] = field(default_factory=set)
    """Of the certificates that it has served."""

    def text(self) -> str:
        """Return its metrics. Raises OSError or HTTPException while the API server is away."""
        status, body = self.api.call("GET", self.path)
        if status != 200:  # OK
            raise OSError(f"{self.replica.name}: metrics are answered {status}")
        return body.decode()

    def gauges(self) -> Mapping[str, float]:
        """Return the numbers that are watched beside those of the kernel."""
        text = self.text()
        if self.role != CONTROLLER:
            self.expiries.add(gauges_of(text, (EXPIRY,))[EXPIRY])
        return gauges_of(text, GAUGES)

    @property
    def led(self) -> bool:
        """Whether it has been seen to lead."""
        return 1.0 in self.watched.series(LEADS)


@dataclass(slots=True)
class Soak:
    """The operator under all that happens to it."""

    site: Site
    release: Release
    subjects: list[Subject]
    load: PodLoad
    churn: Churn
    identities: dict[str, str] = field(default_factory=dict)
    """By which a controller's Pod is known in the Lease."""
    holder: str = ""
    """Of the Lease when it was last looked at."""
    moves: int = 0
    """How often another one held it than at the last look."""
    breaks: int = 0

    def of(self, role: str) -> list[Subject]:
        """Return the processes of a role."""
        return [each for each in self.subjects if each.role == role]

    def move_lease(self) -> None:
        """Have the other controller lead: the one that is named, if its name was seen."""
        spec = self.site.get("lease", LEASE, self._where)["spec"]
        holder = spec.get("holderIdentity") or ""
        self.identities[holder.partition("_")[0]] = holder
        self.moves += holder not in {"", self.holder}
        self.holder = holder
        others = [name for pod, name in self.identities.items() if pod and name != holder]
        # Nobody else is "moved": whoever first sees that they do not renew it takes it.
        named = {"holderIdentity": (others or ["moved"])[0], "leaseDurationSeconds": 1}
        patch = json.dumps({"spec": named})
        self.site.kubectl.run("patch", "lease", LEASE, self._where, "--type=merge", "-p", patch)

    def break_watches(self) -> None:
        """Close every connection of the operator to the API server."""
        self.breaks += self.site.cluster.drop_connections() > 0

    def counts(self) -> dict[str, float]:
        """Return what was done since the processes began, by metrics of all of them."""
        totals: dict[str, float] = {}
        for subject in self.subjects:
            for family in text_string_to_metric_families(subject.text()):
                for sample in family.samples:
                    labels = (sample.labels.get(k, "") for k in ("verb", "resource", "operation"))
                    key = " ".join([sample.name, subject.role, *filter(None, labels)])
                    totals[key] = totals.get(key, 0) + sample.value
        return totals

    @property
    def _where(self) -> str:
        return f"--namespace={self.release.namespace}"


@dataclass(frozen=True, slots=True)
class Wheel:
    """Something that happens again and again: how often in four hours of the default settings."""

    title: str
    period_seconds: float
    """By default."""
    metric: str
    """What counts it, with role and labels, as `Soak.counts` has them."""
    processes: int = 1
    """How many do it, each by itself."""

    @property
    def wanted(self) -> float:
        """How often it happens in four hours."""
        return self.processes * 4 * 3600 / self.period_seconds


_REQUESTS = "caios_federation_kubernetes_requests_total"
_REMOTE = f"caios_federation_coreweave_requests_total {CONTROLLER}"
WHEELS = (
    Wheel("Lease renewed", 2, f"{_REQUESTS} {CONTROLLER} update leases"),
    Wheel("caches audited, webhooks", 300, f"{_REQUESTS} {WEBHOOK} list serviceaccounts", 2),
    Wheel("caches audited, controllers", 300, f"{_REQUESTS} {CONTROLLER} list serviceaccounts", 2),
    Wheel("policies listed by a resync", 600, f"{_REMOTE} ListAccessPolicies"),
    Wheel("trust and token looked at", 60, f"{_REMOTE} WhoAmI"),
    Wheel("certificate's Secret looked at", 30, f"{_REQUESTS} {CONTROLLER} get secrets"),
    Wheel("identity verified", 3600, f"{_REMOTE} CreateAccessKeyFromContainerCreds"),
)


@pytest.fixture
def soak(site: Site, release: Release, tmp_path: Path) -> Iterator[Soak]:
    """Yield the operator under load, watched; the samples are in `tmp_path` afterwards."""
    namespaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (LIVES,)
    ]
    site.apply(*pods.manifests(LOAD), *namespaces)
    cluster = site.cluster
    api = Api(cluster.url, cluster.pki)
    subjects = []
    for role in (WEBHOOK, WEBHOOK_AGAIN, CONTROLLER):
        for replica in release.ready(role):
            pod = f"/api/v1/namespaces/{release.namespace}/pods/{replica.name}"
            subject = Subject(role, replica, api, f"{pod}:{PORT}/proxy/metrics")
            subject.watched = Watched(release.pid(replica), subject.gauges)
            subjects.append(subject)
    load = PodLoad(cluster.url, cluster.pki, LOAD, rate=RATE)
    try:
        with load, Churn(api, LIVES) as churn, watching([s.watched for s in subjects], 2.0):
            yield Soak(site, release, subjects, load, churn)
    finally:
        write(tmp_path / "samples.csv", subjects)
        print(f"samples: {tmp_path / 'samples.csv'}")


@contextmanager
def probing(soak: Soak) -> Iterator[subprocess.Popen[str]]:
    """Ask every Pod as kubelet and Prometheus do; the process prints counts in the end."""
    where = f"--namespace={soak.release.namespace}"
    listed = [soak.site.get("pod", each.replica.name, where) for each in soak.subjects]
    hosts = [pod["status"]["podIP"] for pod in listed]
    command = soak.site.cluster.command_inside(sys.executable, "-c", PROBER, str(PORT), *hosts)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as prober:
        try:
            yield prober
        finally:
            prober.kill()


def warm_up(soak: Soak) -> None:
    """Let everything happen once that is to happen again, in each process.

    What a process holds after the first certificate, term, broken watch, LIST and so on is what it
    is measured by. Memory of what comes only once is thus left out by a rule.
    """
    soak.site.cluster.expire_watches()
    soak.break_watches()
    soak.load.wait(WARM_PODS, DEADLINE_SECONDS + WARM_PODS / RATE)
    for _ in range(10):  # whoever is first: it may be the same one again
        if all(each.led for each in soak.of(CONTROLLER)):
            break
        soak.move_lease()
        eventually(lambda: all(each.led for each in soak.of(CONTROLLER)), 15)
    assert all(each.led for each in soak.of(CONTROLLER)), soak.identities

    def rotated() -> bool:
        return all(len(each.expiries) > 1 for each in soak.of(WEBHOOK) + soak.of(WEBHOOK_AGAIN))

    assert eventually(rotated, DEADLINE_SECONDS), [each.expiries for each in soak.subjects]


def test_four_hours_in_fast_motion_leave_nothing_behind(soak: Soak) -> None:
    """Everything that has a period has a short one, and happens as often as in four hours.

    How often that is by the defaults is in WHEELS, counted by the processes' own metrics; probes of
    kubelet (each 2 and 10 s) and Prometheus (30 s) are made by a prober. Certificates live for two
    minutes; in four hours none would be renewed. Besides, identities come and go all the time,
    connections to the API server are cut and the Lease changes hands some dozen times, and in the
    middle watches expire. It goes on until all counts are reached.
    """
    warm_up(soak)
    for subject in soak.subjects:
        subject.watched.samples.clear()
        subject.watched.trouble.clear()
        subject.expiries.clear()
    before, created, lives = soak.counts(), soak.load.created, soak.churn.lives
    begun = time.monotonic()
    with probing(soak) as prober:
        run(soak, before, created + PODS)
        probed = json.loads(prober.communicate(timeout=LONGEST_SECONDS)[0])
        after = soak.counts()
    seconds = time.monotonic() - begun

    counts = {
        wheel.title: (wheel.wanted, after.get(wheel.metric, 0) - before.get(wheel.metric, 0))
        for wheel in WHEELS
    }
    each = len(soak.subjects)
    counts |= {
        "asked whether ready": (each * 7200, probed["/readyz"]),
        "asked whether alive": (each * 1440, probed["/healthz"]),
        "metrics read": (each * 480, probed["/metrics"]),
        "certificate renewed": (0, len(soak.subjects[0].expiries) - 1),
        "connections cut": (0, soak.breaks),
        "Lease moved": (0, soak.moves),
        "identities come and gone": (0, soak.churn.lives - lives),
        "Pods created": (PODS, soak.load.created - created),
    }
    print(f"{seconds:.0f} s\n{counted(counts)}\n{curves(soak)}\n{shown(table(soak.load.phases))}")

    assert [record for phase in soak.load.phases for record in phase.wrong] == []
    assert soak.churn.wrong == []
    assert [each.restarts for each in all_replicas(soak)] == [0] * len(soak.subjects)
    assert {title for title, (wanted, done) in counts.items() if done < wanted} == set()
    assert grown(soak.subjects) == []


def run(soak: Soak, before: Mapping[str, float], pods_wanted: int) -> None:
    """Go on, with faults, until everything has happened as often as in four hours."""
    until, last_break, last_move, expired = (time.monotonic() + LONGEST_SECONDS, 0.0, 0.0, False)
    middle = soak.load.created + PODS // 2
    while time.monotonic() < until:
        now = time.monotonic()
        if now - last_break > BREAK_SECONDS:
            soak.break_watches()
            last_break = now
        if now - last_move > MOVE_SECONDS:
            soak.move_lease()
            last_move = now
        if not expired and soak.load.created >= middle:
            soak.site.cluster.expire_watches()
            expired = True
        soak.load.wait(int(2 * RATE), DEADLINE_SECONDS)
        now_counts = soak.counts()
        done = all(
            now_counts.get(wheel.metric, 0) - before.get(wheel.metric, 0) >= wheel.wanted
            for wheel in WHEELS
        )
        if done and expired and soak.load.created >= pods_wanted:
            return


def all_replicas(soak: Soak) -> list[Replica]:
    """Return the operator's Pods as they are now."""
    roles = (WEBHOOK, WEBHOOK_AGAIN, CONTROLLER)
    return [replica for role in roles for replica in soak.release.replicas(role)]


def names_of(subject: Subject) -> list[str]:
    """Return what of a process has to be flat."""
    return [name for name in subject.watched.names if name != LEADS]


def courses(subjects: Sequence[Subject]) -> dict[str, tuple[str, list[float]]]:
    """Return name and course of what has to be flat, by title.

    Connections, and with them descriptors, are those of a role together: which of its replicas the
    API server opens its next one to is the Service's choice, so that one gains what another loses.
    """
    found: dict[str, tuple[str, list[float]]] = {}
    for subject in subjects:
        for name in names_of(subject):
            series, shared = subject.watched.series(name), name.startswith(("tcp ", "descriptors"))
            title = f"{subject.role if shared else subject.replica.name} {name}"
            _, others = found.get(title, (name, [0.0] * len(series)))
            found[title] = name, [one + other for one, other in zip(series, others, strict=False)]
    return found


def grown(subjects: Sequence[Subject]) -> list[str]:
    """Return what is not flat, by process or role."""
    changes = {
        title: (Change.of(series, warm_up=0), SLACK.get(name, FEW))
        for title, (name, series) in courses(subjects).items()
    }
    return [
        f"{title}: {change.first:.0f} -> {change.last:.0f}"
        for title, (change, slack) in changes.items()
        if not change.flat(within=0.1, slack=slack)
    ]


def write(path: Path, subjects: Sequence[Subject]) -> None:
    """Write every sample of every process as CSV."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["process", "seconds", "name", "value"])
        for subject in subjects:
            for sample in subject.watched.samples:
                for name, value in sample.values.items():
                    rows.writerow([subject.replica.name, f"{sample.at:.1f}", name, value])


def curves(soak: Soak) -> str:
    """Return what each process held, first, last and in between."""
    result = Table("process", "what", "first", "last", "change", "course")
    for subject in soak.subjects:
        for name in names_of(subject):
            series = subject.watched.series(name)
            change = Change.of(series, warm_up=0)
            unit = 2**20 if name == "rss" else 1
            share = change.last / change.first - 1 if change.first else 0.0
            result.add_row(
                subject.replica.name,
                f"{name}, MiB" if name == "rss" else name,
                f"{change.first / unit:.1f}",
                f"{change.last / unit:.1f}",
                f"{share:+.1%}",
                spark(series),
            )
    return shown(result)


def counted(counts: Mapping[str, tuple[float, float]]) -> str:
    """Return how often what happened, beside how often it does in four hours."""
    result = Table("what", "in four hours", "here")
    for title, (wanted, done) in counts.items():
        result.add_row(title, f"{wanted:.0f}" if wanted else "", f"{done:.0f}")
    return shown(result)


def spark(series: Sequence[float], width: int = 60) -> str:
    """Return a curve of one line, from its least value to its greatest."""
    size = max(1, len(series) // width)
    means = [
        sum(part) / len(part)
        for part in (series[i : i + size] for i in range(0, len(series), size))
    ]
    low, high = min(means), max(means)
    step = (high - low) / (len(SPARKS) - 1) or 1.0
    return "".join(SPARKS[round((mean - low) / step)] for mean in means)


def shown(renderable: Table) -> str:
    """Return a table as text."""
    file = io.StringIO()
    Console(file=file, width=180).print(renderable)
    return file.getvalue()
