"""What a cluster remembers, and how it knows its processes again."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from caios_testbed.cluster import process
from caios_testbed.cluster.failure import ClusterError, tail
from caios_testbed.cluster.process import Process
from caios_testbed.cluster.roster import Roster
from caios_testbed.cluster.state import Ports, State

ETCD = Process(name="etcd", pid=7, started=1234, boot="a boot", log=Path("/logs/etcd.log"))
STATE = State(
    cluster_id=str(uuid.UUID(int=1)),
    ports=Ports(apiserver=1, etcd=2, etcd_peer=3, controller_manager=4),
    subnet="10.201.0.0/30",
    processes=(ETCD,),
)


@pytest.mark.parametrize("state", [STATE, State()], ids=["full", "new"])
def test_state_is_read_as_it_was_written(tmp_path: Path, state: State) -> None:
    state.write(tmp_path / "state.json")

    assert State.read(tmp_path / "state.json") == state


def test_state_of_a_new_cluster_has_an_identity_of_its_own(tmp_path: Path) -> None:
    first, second = State.read(tmp_path / "none"), State.read(tmp_path / "none")

    assert first.cluster_id != second.cluster_id
    assert first.processes == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        json.dumps({**json.loads(STATE.render()), "format": 0}),
        json.dumps({**json.loads(STATE.render()), "cluster_id": "x"}),
        json.dumps({**json.loads(STATE.render()), "processes": [{"pid": 1}]}),
    ],
)
def test_foreign_state_is_refused_with_its_path(tmp_path: Path, text: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)

    with pytest.raises(ClusterError, match=r"state\.json: not a state file of this testbed"):
        State.read(path)


def test_process_takes_the_place_of_one_of_its_name() -> None:
    again = replace(ETCD, pid=8)

    assert STATE.with_process(again).processes == (again,)
    assert STATE.process("etcd") == ETCD
    assert STATE.process("dnsmasq") is None


def test_process_is_known_by_start_time_and_boot_and_not_by_its_pid_alone() -> None:
    started = process.start_time(os.getpid())
    assert started is not None
    this = Process("this", os.getpid(), started, process.boot_id(), Path("/dev/null"))

    assert this.alive
    assert not replace(this, started=started + 1).alive
    assert not replace(this, boot="another").alive


def test_roster_starts_writes_down_and_ends(tmp_path: Path) -> None:
    roster = Roster(tmp_path, prefix=("env", "WORD=said"))
    started = roster.start("speaker", ["sh", "-c", "echo $WORD; exec sleep 1000"])
    roster.wait("speaker", lambda: started.log.read_text() == "said\n", 10)

    assert Roster(tmp_path).alive("speaker")
    assert os.getpgid(started.pid) == started.pid

    roster.stop_all()
    assert not started.alive
    assert Roster(tmp_path).state.processes == ()


def test_roster_never_ends_a_process_that_merely_has_the_pid(tmp_path: Path) -> None:
    roster = Roster(tmp_path)
    other = roster.start("other", ["sleep", "1000"])
    roster.state.with_process(replace(other, started=other.started - 1)).write(roster.path)

    roster.stop_all()

    assert other.alive
    process.stop([other], grace=0)


def test_component_that_dies_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    roster = Roster(tmp_path)
    roster.start("etcd", ["sh", "-c", "echo no room; exit 3"])

    with pytest.raises(ClusterError, match=r"etcd: ended on its own\n(.*\n)* *no room"):
        roster.wait("etcd", lambda: False, 10)


def test_component_that_is_late_is_named_with_its_deadline(tmp_path: Path) -> None:
    roster = Roster(tmp_path)
    roster.start("etcd", ["sleep", "1000"])

    with pytest.raises(ClusterError, match="etcd: not ready within 0 s"):
        roster.wait("etcd", lambda: False, 0)
    roster.stop_all(grace=0)


def test_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="etcd: /none cannot be started: No such file"):
        Roster(tmp_path).start("etcd", ["/none"])


def test_tail_shows_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert "nothing in" in tail(log)

    log.write_text("one\ntwo\nthree\n")
    assert tail(log, 2).splitlines()[1:] == ["    two", "    three"]
