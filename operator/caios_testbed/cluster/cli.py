"""`caios-testbed cluster`: start a cluster, look at it, give it an image, end it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from caios_testbed import directories
from caios_testbed.cluster.binaries import ensure_binaries
from caios_testbed.cluster.cluster import NAME, Cluster
from caios_testbed.cluster.controlplane import ControlPlane
from caios_testbed.cluster.failure import ClusterError
from caios_testbed.cluster.operator_image import ensure_operator_image
from caios_testbed.cluster.progress import Progress
from caios_testbed.cluster.sources import SOURCES

P = ParamSpec("P")
R = TypeVar("R")


def told(command: Callable[P, R]) -> Callable[P, R]:
    """Show a ClusterError as a message, without the stack that only its authors can read."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except ClusterError as error:
            raise click.ClickException(str(error)) from error

    return wrapped


named = click.option("--name", default="caios", show_default=True, help="Which cluster.")
without_node = click.option(
    "--control-plane", is_flag=True, help="The one without a node; needs no root."
)


@click.group()
def cluster() -> None:
    """Run a real Kubernetes on this machine."""


@cluster.command()
@told
def prepare() -> None:
    """Build the programs of clusters and tests, once, so that nothing waits for them later."""
    ensure_binaries(tuple(SOURCES), Progress(lambda line: click.echo(line, err=True)))


@cluster.command()
@named
@without_node
@told
def up(name: str, *, control_plane: bool) -> None:
    """Start a cluster, or say that it runs. Builds what it needs, once."""
    progress = Progress(lambda line: click.echo(line, err=True))
    chosen = _chosen(name, control_plane=control_plane)
    chosen.up(progress)
    progress.note(f"export KUBECONFIG={chosen.kubeconfig}")


@cluster.command()
@named
@without_node
@told
def down(name: str, *, control_plane: bool) -> None:
    """End a cluster and remove what it left on this machine, but for its logs."""
    chosen = _chosen(name, control_plane=control_plane)
    if isinstance(chosen, Cluster):
        chosen.down()
    else:
        chosen.stop()


@cluster.command()
@named
@without_node
@click.pass_context
@told
def status(context: click.Context, name: str, *, control_plane: bool) -> None:
    """Say which components run. Ends with 1 when the cluster is not whole."""
    chosen = _chosen(name, control_plane=control_plane)
    for component, runs in chosen.status().items():
        click.echo(f"{component:24} {'runs' if runs else 'does not run'}")
    whole = chosen.healthy
    click.echo(f"{'cluster':24} {'ready' if whole else 'not ready'}")
    context.exit(0 if whole else 1)


@cluster.command()
@named
@without_node
@told
def kubeconfig(name: str, *, control_plane: bool) -> None:
    """Print where the kubeconfig is: export KUBECONFIG=$(caios-testbed cluster kubeconfig)."""
    path = _chosen(name, control_plane=control_plane).kubeconfig
    if not path.exists():
        raise ClusterError(f"cluster {name} was never up; run: caios-testbed cluster up")
    click.echo(path)


@cluster.command("load-image")
@named
@click.argument("tar", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@told
def load_image(name: str, tar: Path) -> None:
    """Make the image in TAR known to the node, under the name that it carries."""
    Cluster(name).load_image(tar)


@click.group()
def image() -> None:
    """Make the operator's image, without a container engine or a registry."""


@image.command()
@told
def build() -> None:
    """Build it from this checkout unless it is there; print its name, its file and the size."""
    made = ensure_operator_image(Progress(lambda line: click.echo(line, err=True)))
    click.echo(f"{made.reference} {made.tar} {made.tar.stat().st_size / 1e6:.0f} MB")


def _chosen(name: str, *, control_plane: bool) -> Cluster | ControlPlane:
    if not control_plane:
        return Cluster(name)
    if not NAME.fullmatch(name):
        Cluster(name)  # which says what is wrong with the name
    return ControlPlane(directories.state("control-planes", name))
