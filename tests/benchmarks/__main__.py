"""Benchmarks: `python -m benchmarks PART...` from the folder `tests`, or `make bench`.

Each part writes its figures to `build/benchmarks.json`, beside those of the others; `report` makes
the table of `docs/performance.md` and the plot of them. What they say depends on the machine, so
nothing passes or fails by them; ratios of one run are what to compare.
"""

import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from benchmarks import admission, caches, creates, load, reconciling, report, startup
from benchmarks.stage import Stage, staged
from caios_testbed.cluster.packages import ensure_packages
from caios_testbed.cluster.progress import Progress

_SYSTEM = "/usr"
"""Where a distribution has its Python."""
RESULTS = Path(__file__).parents[2] / "build" / "benchmarks.json"
PROGRESS = Progress(lambda line: click.echo(line, err=True))


@click.group(chain=True)
def main() -> None:
    """Measure what the operator costs."""
    ensure_packages(load.PACKAGES, PROGRESS)


@main.command("admission")
def measure_admission() -> None:
    """Measure the admission server alone, beside two yardsticks."""
    with _stage() as stage:
        found = admission.measure(stage, PROGRESS)
    _save("admission", found.as_json())


@main.command("startup")
def measure_startup() -> None:
    """Measure the time from start to ready."""
    with _stage() as stage, PROGRESS.step("starts of a webhook"):
        found = startup.measure(stage)
    _save("startup", asdict(found))


@main.command("creates")
def measure_creates() -> None:
    """Measure creations of Pods through an API server."""
    with _stage() as stage, PROGRESS.step("creations of Pods through an API server"):
        found = [asdict(each) for each in creates.measure(stage)]
    _save("creates", found)


@main.command("caches")
def measure_caches() -> None:
    """Measure webhooks of clusters with many ServiceAccounts."""
    with (
        _directory() as directory,
        staged(directory / "empty", PROGRESS) as empty,
        staged(directory / "full", PROGRESS) as full,
    ):
        found = [asdict(each) for each in caches.measure(empty, full, directory, PROGRESS)]
    _save("caches", found)


@main.command("reconciling")
def measure_reconciling() -> None:
    """Measure the reconciliation of many bindings."""
    with _directory() as directory:
        found = [asdict(each) for each in reconciling.measure(directory, PROGRESS)]
    _save("reconciling", found)


@main.command("report")
def write_report() -> None:
    """Write the table of docs/performance.md, and the plot beside it."""
    report.write(json.loads(RESULTS.read_text()))
    click.echo(f"written: {report.PAGE}, {report.PLOT}")


@contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="caios-bench-") as directory:
        yield Path(directory)


@contextmanager
def _stage() -> Iterator[Stage]:
    with _directory() as directory, staged(directory, PROGRESS) as stage:
        yield stage


def machine() -> str:
    """Say on what machine this runs."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    python = f"Python {platform.python_version()}"
    if sys.base_prefix == _SYSTEM:
        python += f" of {platform.freedesktop_os_release()['PRETTY_NAME']}"
    return f"{os.cpu_count()} cores of {model}, {python}"


def _save(part: str, figures: object) -> None:
    """Put the figures of one part beside those of the others, and show them."""
    RESULTS.parent.mkdir(exist_ok=True)
    known: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    known |= {"machine": machine(), part: _rounded(figures)}
    RESULTS.write_text(json.dumps(known, indent=2) + "\n")
    click.echo(f"\n{report.TABLES[part](known[part])}\n\n{machine()}; figures are in {RESULTS}")


def _rounded(figures: object) -> object:
    """Return `figures` with as many digits as they mean something."""
    if isinstance(figures, dict):
        return {key: _rounded(figure) for key, figure in figures.items()}
    if isinstance(figures, list):
        return [_rounded(figure) for figure in figures]
    return round(figures, 3) if isinstance(figures, float) else figures


if __name__ == "__main__":
    main()
