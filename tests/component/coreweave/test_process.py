"""`caios-testbed coreweave serve`: starts, says where it listens, ends when it is told to."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3
from click.testing import CliRunner

from caios_testbed.coreweave.app import HOSTS
from caios_testbed.coreweave.cli import coreweave
from component.coreweave.world import INVALID_TOKEN, ISSUER, KEY, key_set, token

PROGRAM = (sys.executable, "-m", "caios_testbed", "coreweave", "serve")


def listening(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Read the line that says where it listens."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("listening: "), line
    found: dict[str, Any] = json.loads(line.removeprefix("listening: "))
    return found


@contextmanager
def started(*options: str) -> Iterator[subprocess.Popen[str]]:
    """Run the program; it never outlives the block."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [*PROGRAM, *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def check_answers(ready: dict[str, Any]) -> None:
    """Ask over both listeners."""
    with urllib3.PoolManager(ca_certs=ready["caFile"]) as pool:
        for name in ("CW-SECRET-one", "CW-SECRET-two"):
            answer = pool.request(
                "GET",
                ready["httpsUrl"] + "/v1beta1/auth/whoami",
                headers={"Authorization": f"Bearer {name}"},
            )
            assert answer.status == 200
        answer = pool.request(
            "GET",
            ready["url"] + "/v1/cwobject/temporary-credentials/oidc/cw77",
            headers={"Authorization": token()},
        )
        assert (answer.status, answer.json()) == (400, INVALID_TOKEN)
        answer = pool.request("GET", ready["url"], headers={"Host": "data.s3.localhost"})
        assert b"<Code>AccessDenied</Code>" in answer.data


def test_a_process_serves_until_sigterm(tmp_path: Path) -> None:
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps(key_set(KEY)))
    ready_file = tmp_path / "ready.json"
    options = (
        *("--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--org", "cw77"),
        *("--api-token", "CW-SECRET-one", "--api-token", "CW-SECRET-two"),
        *("--issuer-jwks", f"{ISSUER}={jwks}", "--san", "api.example.com"),
        *("--set", "containerKeyLifetimeSeconds=3600", "--ready-file", str(ready_file)),
        *("--ca-directory", str(tmp_path / "ca"), "--s3-host", "s3.localhost"),
    )
    with started(*options) as process:
        ready = listening(process)
        assert json.loads(ready_file.read_text()) == ready
        check_answers(ready)
        names = certificate_names(ready["httpsUrl"], ready["caFile"])
        assert {*HOSTS, "api.example.com", "s3.localhost", "*.s3.localhost"} <= names
        process.send_signal(signal.SIGTERM)
        _, talk = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in talk
    assert token().rpartition(".")[0] not in talk


def certificate_names(url: str, ca_file: str) -> set[str]:
    port = int(url.rpartition(":")[2])
    context = ssl.create_default_context(cafile=ca_file)
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname="bucket.cwobject.com") as wrapped,
    ):
        certificate = wrapped.getpeercert()
    assert certificate is not None
    pairs: Any = certificate["subjectAltName"]
    return {value for _, value in pairs}


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (("--issuer", "nonsense"), "ISSUER=BASE_URL"),
        (("--issuer-jwks", "nonsense"), "ISSUER=FILE"),
        (("--set", "unknown=1"), "unknown setting"),
        (("--http", "nonsense"), "HOST:PORT"),
    ],
)
def test_bad_options_are_explained(options: tuple[str, ...], fault: str) -> None:
    done = CliRunner().invoke(coreweave, ["serve", *options])
    assert done.exit_code == 2
    assert fault in done.output
