"""Two processes of the operator side by side: one acts, and another one goes on where it ended."""

import base64
import itertools
import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from caios_testbed.audit import entries, resource_of
from caios_testbed.cluster.components import WRITES
from caios_testbed.cluster.ports import free_ports
from caios_testbed.cluster.waiting import eventually
from caios_testbed.product import LEASE_SECONDS, NAMESPACE, Product
from integration.product.conftest import wait_for
from integration.storage.conftest import SETTINGS, Storage, opened
from integration.storage.fleet import Fleet, grants_of

LEASE = "caios-federation-controller"
TAKEN_SECONDS = LEASE_SECONDS + 6
"""The Lease time, and what a busy machine needs to look around and to tell of it."""
HANDED_OVER_SECONDS = LEASE_SECONDS - 0.5
"""Below the Lease time: who waits has not waited for that."""
PATIENT = SETTINGS | {"CAIOS_RECONCILE__RESYNC_SECONDS": "60"}


@dataclass(frozen=True, slots=True)
class Pair:
    """Two processes, and bindings that are changed while one takes over from the other."""

    storage: Storage
    processes: tuple[Product, Product]
    fleet: Fleet

    @property
    def leader(self) -> Product:
        """The process that leads."""
        (found,) = [each for each in self.processes if leading(each)]
        return found

    @property
    def other(self) -> Product:
        """The one that does not."""
        (found,) = [each for each in self.processes if not leading(each)]
        return found

    @property
    def holder(self) -> str:
        """Who has the Lease."""
        return str(
            (self.storage.world.get("lease", NAMESPACE, LEASE) or {})["spec"].get("holderIdentity")
        )

    def converged(self) -> bool:
        """Tell whether policies and bindings are as declared."""
        return self.storage.own_policies() == self.fleet.expected and not self.fleet.unready()


def lines(product: Product, *messages: str) -> list[dict[str, str]]:
    """Return the lines with these messages in a process' log."""
    found = map(json.loads, filter(_is_json, product.log.read_text().splitlines()))
    return [line for line in found if line["msg"] in messages]


def _is_json(line: str) -> bool:
    return line.startswith("{") and line.endswith("}")


def leading(product: Product) -> bool:
    """Tell whether a process said last that it leads."""
    told = lines(product, "starting", "leading", "no longer leading")
    return product.alive and bool(told) and told[-1]["msg"] == "leading"


def identity(product: Product) -> str:
    """Return the name under which a process has led last."""
    return lines(product, "leading")[-1]["identity"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    directory: Path = tmp_path_factory.mktemp("leading")
    with opened(directory, PATIENT) as storage:
        first = storage.world.product
        second = Product(directory / "second", first.kubectl, first.host, *free_ports(1))
        fleet = Fleet(storage, 24)
        fleet.namespaces()
        fleet.apply({number: grants_of(number) for number in range(24)})
        try:
            yield Pair(storage, (first, second), fleet)
        finally:
            second.signal(signal.SIGCONT)
            first.signal(signal.SIGCONT)
            second.stop()


@pytest.fixture
def pair(world: Pair) -> Pair:
    """Return the two processes at rest; who ran last leads."""
    for each in world.processes:
        if not each.alive:
            each.start(PATIENT)
    wait_for(lambda: sum(map(leading, world.processes)), 1)
    wait_for(world.converged, expected=True)
    return world


_CREDENTIAL = "authentication.kubernetes.io/credential-id"
"""Who of those with one name: https://kep.k8s.io/4193."""
WORK = ("policy applied", "policy removed", "status changed", "binding created")
_rounds = itertools.count(1)


def test_the_other_one_acts_within_the_lease_time_when_the_leader_is_killed(pair: Pair) -> None:
    leader, other = pair.leader, pair.other
    leader.signal(signal.SIGKILL)
    pair.fleet.change(range(8), by=next(_rounds))
    assert eventually(lambda: leading(other), TAKEN_SECONDS)
    wait_for(pair.converged, expected=True)
    assert pair.holder == identity(other)
    nothing_undeclared(pair)


def test_the_other_one_acts_at_once_when_the_leader_is_terminated(pair: Pair) -> None:
    leader, other = pair.leader, pair.other
    pair.fleet.change(range(8, 16), by=next(_rounds))
    leader.signal(signal.SIGTERM)
    assert eventually(lambda: leading(other), HANDED_OVER_SECONDS)
    assert eventually(lambda: not leader.alive, 15)
    assert lines(leader, "stopped")
    wait_for(pair.converged, expected=True)
    nothing_undeclared(pair)


def test_a_leader_that_was_stopped_for_long_writes_nothing_when_it_goes_on(pair: Pair) -> None:
    """Its queue is full of work when it is stopped, and CoreWeave slow, so that writes wait."""
    leader, other = pair.leader, pair.other
    before = identity(leader)
    with pair.storage.remote.failing({"latencySeconds": 0.3}):
        pair.fleet.change(range(24), by=next(_rounds))
        assert eventually(lambda: bool(pair.storage.remote.requests("EnsureAccessPolicy")), 20)
        leader.signal(signal.SIGSTOP)
    assert eventually(lambda: leading(other), TAKEN_SECONDS)
    wait_for(pair.converged, expected=True)
    pair.fleet.change(range(24), by=next(_rounds))
    wait_for(pair.converged, expected=True)
    audit, asked = _writes(pair, leader), len(pair.storage.remote.requests())
    assert audit

    leader.signal(signal.SIGCONT)
    assert eventually(lambda: not leading(leader), 20)
    assert lines(leader, "no longer leading")
    assert pair.holder == identity(other)
    assert identity(leader) == before
    assert _writes(pair, leader) == audit
    since = pair.storage.remote.requests()[asked:]
    assert [e["path"] for e in since if e["operation"].startswith(("Ensure", "Delete"))] == []
    assert pair.converged()
    nothing_undeclared(pair)


def test_two_that_run_do_not_both_act(pair: Pair) -> None:
    """Between leading and no longer leading of one there is no line of the other's work."""
    pair.fleet.change(range(24), by=next(_rounds))
    wait_for(pair.converged, expected=True)
    told = lines(pair.other, "starting", "no longer leading", *WORK)
    assert told[-1]["msg"] not in WORK


def nothing_undeclared(pair: Pair) -> None:
    """Check that no policy was ever other than declared by then: nothing double, nothing lost."""
    own = [c for c in pair.storage.remote.changes() if c.name.startswith(pair.storage.prefix)]
    assert [problem for change in own if (problem := pair.fleet.undeclared(change))] == []


def _writes(pair: Pair, product: Product) -> list[tuple[str, str]]:
    """Return verb and path of each write of a process, but for the Lease and events.

    The other one, which leads by then, may still prove an identity anew.
    """
    credential = f"JTI={_token_id(product)}"
    return [
        (entry["verb"], entry["requestURI"])
        for entry in entries(pair.storage.world.plane.audit_log)
        if entry["verb"] in WRITES
        and credential in entry["user"].get("extra", {}).get(_CREDENTIAL, ())
        and resource_of(entry) not in {"leases", "events"}
    ]


def _token_id(product: Product) -> str:
    """Return the id of the token that a process reaches the API server with."""
    kubeconfig = yaml.safe_load((product.directory / "kubeconfig").read_text())
    _, claims, _ = kubeconfig["users"][0]["user"]["token"].split(".")
    return str(json.loads(base64.urlsafe_b64decode(claims + "=="))["jti"])
