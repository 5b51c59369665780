"""Certificates, whatever happens to them: garbage, deletion, processes that die, time that passes.

The model keeps what the cluster keeps, the Secret and the published CAs, and what replicas keep,
the pair that each has in memory. Interference is up to Hypothesis.
"""

import datetime as dt
from dataclasses import dataclass, field

from cryptography import x509
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from caios_federation.core.rotation import MOST_OTHERS, Step
from caios_federation.reconcile.certificates import (
    Lives,
    Plan,
    Published,
    Stored,
    plan_rotation,
)
from caios_federation.reconcile.pki import dated, read_pair, signer_of
from issuing import issue_bundle

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
HOSTS = ["hook.caios.svc"]
LIVES = Lives(HOSTS, dt.timedelta(hours=6), dt.timedelta(hours=24))
FILES = ("ca.crt", "ca.key", "tls.crt", "tls.key")
FOREIGN = issue_bundle(["elsewhere.svc"], NOW).files
FINISHED = 6
"""Looks after which everything is in order, when nobody interferes any more."""
garbage = st.one_of(st.none(), st.binary(max_size=8), st.sampled_from(list(FOREIGN.values())))


@dataclass(slots=True)
class Cluster:
    """What outlives every process."""

    files: dict[str, bytes] | None = None
    published: list[x509.Certificate] = field(default_factory=list)
    now: dt.datetime = NOW

    @property
    def stored(self) -> Stored:
        return Stored() if self.files is None else Stored("1", ours=True, files=self.files)

    def plan(self, settled: set[str]) -> Plan:
        return plan_rotation(self.now, self.stored, Published(self.published, settled), LIVES)

    def serves(self, pair: x509.Certificate | None) -> bool:
        """Tell whether the API server takes `pair`."""
        if pair is None or not pair.not_valid_before_utc <= self.now < pair.not_valid_after_utc:
            return False
        signer = signer_of(pair, self.published)
        return signer is not None and self.now < signer.not_valid_after_utc

    @property
    def pair(self) -> x509.Certificate | None:
        """The pair of the Secret, as a replica would load it."""
        files = self.files or {}
        return read_pair(files.get("tls.crt", b""), files.get("tls.key", b""), HOSTS)


class Rotation(RuleBasedStateMachine):
    """One controller after the other, and a replica that loads what the Secret has, at times."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()
        self.settled: set[str] = set()
        self.in_memory: x509.Certificate | None = None
        """A pair that was trusted when it was loaded."""
        self.latest = NOW

    @initialize(files=st.none() | st.fixed_dictionaries({}, optional=dict.fromkeys(FILES, garbage)))
    def begin(self, files: dict[str, bytes | None] | None) -> None:
        if files is not None:
            self.cluster.files = {name: held for name, held in files.items() if held is not None}

    def look(self, steps: int = 2) -> Plan:
        """Look once; the process dies after `steps` of: publish, write."""
        cluster, serving = self.cluster, self.cluster.pair
        could_serve = cluster.serves(serving)
        plan = cluster.plan(self.settled)
        if steps > 0:
            cluster.published = plan.trusted
        if steps > 1 and plan.files:
            cluster.files = {**(cluster.files or {}), **plan.files}
            if could_serve and cluster.pair != serving:
                fresh = cluster.pair
                assert fresh is not None
                signer = signer_of(fresh, cluster.published)
                assert signer is not None
                assert dated(signer).identity in self.settled, "served before its CA was known"
        return plan

    @rule(steps=st.integers(0, 2))
    def a_controller_looks(self, steps: int) -> None:
        self.look(steps)

    @rule()
    def api_servers_learn(self) -> None:
        self.settled = {dated(each).identity for each in self.cluster.published}

    @rule()
    def another_process_takes_over(self) -> None:
        self.settled = set()

    @rule(minutes=st.integers(1, 300))
    def time_passes(self, minutes: int) -> None:
        self.cluster.now += dt.timedelta(minutes=minutes)

    @rule(minutes=st.integers(1, 9))
    def the_clock_goes_back(self, minutes: int) -> None:
        self.cluster.now -= dt.timedelta(minutes=minutes)

    @rule(name=st.sampled_from(FILES), content=garbage)
    def somebody_spoils_the_secret(self, name: str, content: bytes | None) -> None:
        files = dict(self.cluster.files or {})
        files.pop(name, None)
        self.cluster.files = files if content is None else {**files, name: content}

    @rule()
    def somebody_deletes_the_secret(self) -> None:
        self.cluster.files = None

    @rule()
    def a_replica_loads_the_pair(self) -> None:
        if self.cluster.serves(self.cluster.pair):
            self.in_memory = self.cluster.pair

    @rule()
    def all_comes_right_when_nobody_interferes(self) -> None:
        for _ in range(FINISHED):
            self.look()
            self.api_servers_learn()
        plan = self.look()
        assert plan.decision.step is Step.KEEP
        assert plan.files == {}
        pair = self.cluster.pair
        assert pair is not None
        first = self.cluster.published[0]
        assert signer_of(pair, [first]) is not None, "the newest CA is not the first"
        assert pair.not_valid_after_utc <= first.not_valid_after_utc

    @invariant()
    def a_replica_that_was_trusted_stays_trusted_until_its_pair_expires(self) -> None:
        self.latest = max(self.latest, self.cluster.now)
        pair, published = self.in_memory, self.cluster.published
        if pair and self.latest < pair.not_valid_after_utc and len(published) < MOST_OTHERS:
            assert signer_of(pair, published) is not None

    @invariant()
    def the_bundle_is_bounded(self) -> None:
        assert len(self.cluster.published) <= MOST_OTHERS + 2


Rotation.TestCase.settings = settings(stateful_step_count=30)
TestRotation = Rotation.TestCase
