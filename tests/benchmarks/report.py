"""The results as tables of Markdown, in `docs/performance.md`, and the plot beside it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

_DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = _DOCS / "performance.md"
PLOT: Final = _DOCS / "performance.png"
_BEGIN: Final = "<!-- what `make bench` writes begins -->\n"
_END: Final = "<!-- what `make bench` writes ends -->\n"
Figures = Mapping[str, Any]


def write(results: Figures) -> None:
    """Replace what was written before."""
    head, _, rest = PAGE.read_text().partition(_BEGIN)
    _, found, tail = rest.partition(_END)
    if not found:
        raise RuntimeError(f"{PAGE}: the lines that enclose the tables are missing")
    parts = [f"Measured on {results['machine']}, shared by all that takes part.\n"]
    parts += [f"{table(results[part])}\n" for part, table in TABLES.items() if part in results]
    PAGE.write_text(f"{head}{_BEGIN}\n" + "\n".join(parts) + f"\n{_END}{tail}")
    if {"caches", "reconciling"} <= results.keys():
        _plot(results["caches"], results["reconciling"])


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"### {title}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _admission(found: Figures) -> str:
    columns = ["Case", "CPU µs", "of aiohttp", "Requests/s", "p50 ms, 1 connection"]
    columns += ["p99 ms, 16 connections", "Memory MiB"]
    rows = []
    for name, figures in found.items():
        if not isinstance(figures, Mapping):
            continue
        suffix = [part for part in ("injected", "large") if part in name.split("_")]
        yardstick = found["_".join(["yardstick_aiohttp", *suffix])]
        rows.append(
            [
                name,
                f"{figures['cpu_us']:,.0f}",
                f"{figures['cpu_us'] / yardstick['cpu_us']:.2f}",
                f"{figures['rps']:,.0f}",
                f"{figures['p50_ms']:.2f}",
                f"{figures['p99_ms']:.1f}",
                f"{figures['rss_mib']:.0f}",
            ]
        )
    slowest = (
        f"\n\nThe slowest of a minute, every Pod injected: {found['slowest_ms_in_60_s']:.0f} ms."
    )
    return _table("The admission server alone", columns, rows) + slowest


def _creates(found: Sequence[Figures]) -> str:
    columns = ["Pods a second", "Webhook", "p50 ms", "p99 ms", "a call, ms"]
    columns += ["calls within 5 ms", "by our own count"]
    rows = [
        [
            f"{each['rate']}",
            each["webhook"],
            f"{each['p50_ms']:.1f}",
            f"{each['p99_ms']:.1f}",
            "" if each["call_ms"] is None else f"{each['call_ms']:.1f}",
            *(
                "" if each[key] is None else f"{each[key]:.1%}"
                for key in ("within_5_ms", "served_within_5_ms")
            ),
        ]
        for each in found
    ]
    return _table("Pods created through an API server", columns, rows)


def _caches(found: Sequence[Figures]) -> str:
    columns = ["ServiceAccounts", "Bindings", "Ready after s", "CPU s until settled", "Memory MiB"]
    columns += ["p50 / p99 ms", "of an empty cluster", "p50 / p99 ms, 200 changes/s"]
    columns += ["of an empty cluster"]
    rows = [
        [
            f"{each['accounts']:,}",
            f"{each['bindings']:,}",
            f"{each['ready_s']:.1f}",
            f"{each['cpu_s']:.1f}",
            f"{each['rss_mib']:.0f}",
            *(
                f"{each[key]['p50_ms']:.2f} / {each[key]['p99_ms']:.1f}"
                for key in ("full", "empty", "full_changing", "empty_changing")
            ),
        ]
        for each in found
    ]
    return _table("A webhook whose cluster is large", columns, rows)


def _reconciling(found: Sequence[Figures]) -> str:
    columns = ["Bindings", "From", "s", "CPU s", "Memory MiB", "Policy lists", "Policy writes"]
    columns += ["API server: writes", "reads"]
    rows = []
    for each in found:
        for key, name in (("cold", "cold to Ready"), ("changed", "another rule of the federation")):
            work = each[key]
            counts = ("policy_lists", "policy_writes", "api_writes", "api_reads")
            rows.append(
                [
                    f"{each['bindings']:,}",
                    name,
                    f"{work['seconds']:.1f}",
                    f"{work['cpu_s']:.1f}",
                    f"{work['rss_mib']:.0f}",
                    *(f"{work[count]:,}" for count in counts),
                ]
            )
    return _table("Bindings with grants", columns, rows)


def _startup(found: Figures) -> str:
    row = [f"{found['ready_s']:.2f}", f"{found['slowest_s']:.2f}", f"{found['cpu_s']:.2f}"]
    columns = ["Ready after s, median", "slowest", "CPU s", "Memory MiB"]
    return _table("A webhook's start", columns, [[*row, f"{found['rss_mib']:.0f}"]])


TABLES: Final[Mapping[str, Callable[[Any], str]]] = {
    "admission": _admission,
    "creates": _creates,
    "caches": _caches,
    "reconciling": _reconciling,
    "startup": _startup,
}
"""By the part of the results; in the order of the page."""


def _plot(caches: Sequence[Figures], reconciling: Sequence[Figures]) -> None:
    """Draw cost against size."""
    import matplotlib as mpl  # noqa: PLC0415  # only `make bench` installs it

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, ((time, cpu), (memory, latency)) = plt.subplots(2, 2, figsize=(11, 8))
    sizes = [each["bindings"] for each in reconciling]
    for axes, key, title in ((time, "seconds", "seconds"), (cpu, "cpu_s", "CPU seconds")):
        for what, label in (("cold", "cold to Ready"), ("changed", "another rule")):
            axes.plot(sizes, [each[what][key] for each in reconciling], marker="o", label=label)
        axes.set(title=f"Bindings with grants: {title}", xlabel="bindings", ylabel=title)
    accounts = [each["accounts"] for each in caches]
    for key, label in (("rss_mib", "memory, MiB"), ("ready_s", "ready after, s")):
        memory.plot(accounts, [each[key] for each in caches], marker="o", label=label)
    memory.set(title="A webhook beside 5,000 bindings", xlabel="ServiceAccounts")
    for key, label in (
        ("full", "this cluster"),
        ("empty", "an empty one, at the same time"),
        ("full_changing", "this, 200 changes/s"),
        ("empty_changing", "the empty one, meanwhile"),
    ):
        latency.plot(accounts, [each[key]["p50_ms"] for each in caches], marker="o", label=label)
    latency.set(title="An injected Pod, one connection", xlabel="ServiceAccounts", ylabel="p50, ms")
    for axes in (time, cpu, memory, latency):
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
    figure.tight_layout()
    figure.savefig(PLOT, dpi=100)
    plt.close(figure)
