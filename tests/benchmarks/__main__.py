"""Benchmarks: `python -m benchmarks admission` from the folder `tests`, or `make bench-admission`.

They print a table and write `build/benchmarks.json`. What they say depends on the machine, so
nothing passes or fails by them; ratios of one run are what to compare.
"""

import json
import os
import platform
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks import admission
from caios_testbed.cluster.progress import Progress

RESULTS = Path(__file__).parents[2] / "build" / "benchmarks.json"
COLUMNS = ("CPU µs", "of aiohttp", "rps", "p50 ms, 1 conn.", "p99 ms, 16 conn.", "RSS MiB")


@click.group()
def main() -> None:
    """Measure what the operator costs."""


@main.command("admission")
def measure_admission() -> None:
    """Measure the admission server alone, beside two yardsticks."""
    progress = Progress(lambda line: click.echo(line, err=True))
    with tempfile.TemporaryDirectory(prefix="caios-bench-") as directory:
        found = admission.measure(Path(directory), progress)
    _save("admission", found.as_json())
    Console().print(_table(found))
    click.echo(f"slowest of a minute at 16 connections: {found.slowest_ms:.1f} ms")
    click.echo(f"{machine()}; figures are in {RESULTS}")


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
    return f"{os.cpu_count()} cores of {model}, Python {platform.python_version()}"


def _save(part: str, figures: dict[str, object]) -> None:
    """Put the figures of one part beside those of the others."""
    RESULTS.parent.mkdir(exist_ok=True)
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    known |= {"machine": machine(), part: figures}
    RESULTS.write_text(json.dumps(known, indent=2) + "\n")


def _table(found: admission.Admission) -> Table:
    table = Table("case", *COLUMNS)
    for name, figures in found.cases.items():
        suffix = "_".join(part for part in ("injected", "large") if part in name.split("_"))
        yardstick = found.cases["_".join(filter(None, ("yardstick_aiohttp", suffix)))]
        table.add_row(
            name,
            f"{figures.cpu_us:.0f}",
            f"{figures.cpu_us / yardstick.cpu_us:.2f}",
            f"{figures.rps:.0f}",
            f"{figures.p50_ms:.3f}",
            f"{figures.p99_ms:.2f}",
            f"{figures.rss_mib:.0f}",
        )
    return table


if __name__ == "__main__":
    main()
