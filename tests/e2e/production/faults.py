"""What happens to an operator in production, one fault at a time, each until it is over."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509

from caios_testbed.cluster.waiting import eventually
from caios_testbed.podload.load import PodLoad
from caios_testbed.release import CONTROLLER, WEBHOOK, WEBHOOK_AGAIN, Release, Replica
from e2e.production.site import Site

DEADLINE_SECONDS = 180.0
"""Of each step. Nothing here takes a minute on an idle machine."""
SECRET = "caios-federation-webhook-tls"  # a name
LEASE = "caios-federation-controller"
BLACKOUT_SECONDS = 20.0
GARBAGE = base64.b64encode(b"garbage").decode()
EXPIRY = re.compile(r"^caios_federation_certificate_expiry_timestamp_seconds (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Running:
    """The operator on its site, and the load that is on it."""

    site: Site
    release: Release
    load: PodLoad

    def ready(self) -> list[Replica]:
        """Return the webhook's replicas; there are two."""
        found = self.release.ready(WEBHOOK)
        assert len(found) == 2, found
        return found

    def secret(self) -> dict[str, bytes]:
        """Return the files of the webhook's Secret."""
        found = self.site.get("secret", SECRET, f"--namespace={self.release.namespace}")
        return {key: base64.b64decode(text) for key, text in found.get("data", {}).items()}

    def spoil(self, *files: str, content: str = "") -> None:
        """Have files of the Secret hold something else, encoded in base64."""
        patch = json.dumps({"data": dict.fromkeys(files, content)})
        self.site.kubectl.run(
            "patch",
            f"secret/{SECRET}",
            f"--namespace={self.release.namespace}",
            "--type=merge",
            f"--patch={patch}",
        )

    def served(self, replica: Replica) -> float:
        """Return when the certificate that a replica serves expires, in seconds since 1970."""
        found = EXPIRY.search(self.release.metrics(replica))
        assert found, replica
        return float(found[1])

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Return when `condition` holds."""
        assert eventually(condition, DEADLINE_SECONDS), f"not within the deadline: {what}"

    def wait_for_new_pair(self, old: bytes) -> None:
        """Return when every replica serves another pair than `old`, of the Secret's first CA."""

        def done() -> bool:
            files = self.secret()
            if files.get("tls.crt") in {old, b""}:
                return False
            with contextlib.suppress(ValueError):
                leaf = x509.load_pem_x509_certificate(files["tls.crt"])
                leaf.verify_directly_issued_by(x509.load_pem_x509_certificates(files["ca.crt"])[0])
                expires = leaf.not_valid_after_utc.timestamp()
                again = self.release.ready(WEBHOOK_AGAIN)
                return {self.served(each) for each in (*self.ready(), *again)} == {expires}
            return False

        self.wait(done, "a new pair that is served")


def nothing(_on: Running) -> None:
    """Let time pass."""


def replica_deleted(on: Running) -> None:
    gone, _ = on.ready()
    on.release.delete(gone)

    def replaced() -> bool:
        found = on.release.replicas(WEBHOOK)
        return len(found) == 2 and all(r.ready and r.uid != gone.uid for r in found)

    on.wait(replaced, "another replica in its place")


def replica_killed(on: Running) -> None:
    victim, _ = on.ready()
    on.release.kill(victim)

    def back() -> bool:
        return any(
            r.uid == victim.uid and r.restarts > victim.restarts for r in on.release.ready(WEBHOOK)
        )

    on.wait(back, "the replica again")


def rolled(on: Running) -> None:
    on.release.roll(WEBHOOK)
    on.release.roll(WEBHOOK_AGAIN)
    on.wait(lambda: len(on.release.replicas(WEBHOOK)) == 2, "the old replicas gone")


def pair_rotated(on: Running) -> None:
    old = on.secret()["tls.crt"]
    on.spoil("tls.crt", "tls.key")
    on.wait_for_new_pair(old)


def authority_rotated(on: Running) -> None:
    files = on.secret()
    newest = x509.load_pem_x509_certificates(files["ca.crt"])[0]
    on.spoil("ca.key")
    on.wait_for_new_pair(files["tls.crt"])
    assert newest in x509.load_pem_x509_certificates(on.secret()["ca.crt"])[1:]


def secret_corrupted(on: Running) -> None:
    old = on.secret()["tls.crt"]
    on.spoil("tls.crt", "tls.key", "ca.crt", "ca.key", content=GARBAGE)
    on.wait_for_new_pair(old)


def leader_killed(on: Running) -> None:
    def lease() -> tuple[str, int]:
        found = on.site.get("lease", LEASE, f"--namespace={on.release.namespace}")["spec"]
        return found.get("holderIdentity") or "", found.get("leaseTransitions", 0)

    before = lease()
    leader, *_ = [r for r in on.release.ready(CONTROLLER) if before[0].startswith(r.name)]
    on.release.kill(leader)
    on.wait(lambda: lease()[0] != "" and lease()[1] > before[1], "another term")


def apiserver_restarted(on: Running) -> None:
    on.site.cluster.restart("kube-apiserver")


def etcd_restarted(on: Running) -> None:
    on.site.cluster.restart("etcd", grace=0)


def watches_expired(on: Running) -> None:
    on.site.cluster.expire_watches()


def connections_dropped(on: Running) -> None:
    assert on.site.cluster.drop_connections() > 0


def blackout(on: Running) -> None:
    with on.site.cluster.blackout(2 * BLACKOUT_SECONDS):
        on.load.wait(int(BLACKOUT_SECONDS * on.load.rate), DEADLINE_SECONDS)


FAULTS: dict[str, Callable[[Running], None]] = {
    "nothing": nothing,
    "replica deleted": replica_deleted,
    "replica killed": replica_killed,
    "rolled": rolled,
    "pair rotated": pair_rotated,
    "CA rotated": authority_rotated,
    "Secret corrupted": secret_corrupted,
    "leader killed": leader_killed,
    "API server restarted": apiserver_restarted,
    "etcd killed": etcd_restarted,
    "watches expired": watches_expired,
    "connections dropped": connections_dropped,
    "blackout": blackout,
}
