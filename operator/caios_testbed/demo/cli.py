"""`caios-testbed demo`: the tutorial on a real cluster."""

from __future__ import annotations

import time
from pathlib import Path

import click

from caios_testbed.cluster.failure import ClusterError
from caios_testbed.cluster.progress import Progress
from caios_testbed.demo.stage import Stage
from caios_testbed.demo.terminal import Terminal
from caios_testbed.demo.walk import DemoError, Walk
from caios_testbed.product import CHECKOUT, CommandError
from caios_testbed.release import CHART, CONTROLLER, WEBHOOK, deployment

_NAME = click.option("--name", default="caios", show_default=True, help="Name of the cluster.")


@click.group()
def demo() -> None:
    """Walk the tutorial, end to end."""


@demo.command()
@_NAME
def up(name: str) -> None:
    """Set the stage, walk the tutorial, and leave everything running."""
    began = time.monotonic()
    stage = Stage(name)
    progress = Progress(click.echo)
    try:
        images = stage.set_up(progress)
        short = {
            str(stage.kubectl.program): "kubectl",
            stage.release.helm("list")[0]: "helm",
            f"--kubeconfig={stage.kubectl.kubeconfig}": "",
            **{str(path): str(path.relative_to(CHECKOUT)) for path in _shown_paths()},
        }
        walk = Walk(stage, Terminal(click.echo, short), images)
        walk.tutorial()
        walk.short_way()
    except (ClusterError, CommandError, DemoError) as error:
        raise click.ClickException(f"{error}\nEnd what is left with: make demo-down") from error
    click.echo(_epilogue(stage, time.monotonic() - began))


@demo.command()
@_NAME
def down(name: str) -> None:
    """End cluster and emulator, and the operator with them."""
    stage = Stage(name)
    try:
        with Progress(click.echo).step("demo ended", "ending the demo"):
            stage.strike()
    except ClusterError as error:
        raise click.ClickException(str(error)) from error


def _shown_paths() -> list[Path]:
    samples = (CHECKOUT / "deploy" / "samples").glob("*/*.yaml")
    return [CHART, *samples]


def _epilogue(stage: Stage, seconds: float) -> str:
    return f"""
=== Done in {seconds:.0f} s: Pods used their buckets with no keys, and nothing else.

Everything is still running. Look around:
  export KUBECONFIG={stage.cluster.kubeconfig}
  {stage.kubectl.program} get fsb,sfed,pods -A
  {stage.kubectl.program} describe fsb object-storage
  {stage.kubectl.program} logs -n {stage.release.namespace} {deployment(CONTROLLER)}
  {stage.kubectl.program} logs -n {stage.release.namespace} {deployment(WEBHOOK)} --all-pods
  curl --cacert {stage.ca_file} \\
    --resolve api.coreweave.com:443:{stage.cluster.cluster_address} \\
    https://api.coreweave.com/testbed/requests
End it:
  make demo-down"""
