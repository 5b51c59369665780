#!/usr/bin/env python3
"""Write the Grafana dashboard, deploy/observability/dashboard.json, from dashboard.yaml beside it.

A panel there is some lines; in Grafana's JSON it is sixty, most of which never differ.

Usage: python deploy/observability/generate_dashboard.py
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

DASHBOARD: Final = Path(__file__).resolve().with_name("dashboard.json")
_PANELS: Final = DASHBOARD.with_suffix(".yaml")
_WIDTH: Final = 24
_SELECTED: Final = 'job=~"$job",namespace=~"$namespace"'
_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_HEIGHTS: Final = {"stat": 4, "timeseries": 8}


def render() -> str:
    """Return the file."""
    dashboard = {
        "uid": "caios-federation",
        "title": "CAIOS federation",
        "description": (
            "The operator that federates ServiceAccounts with CoreWeave AI Object Storage. "
            "What to do: docs/operations/monitoring.md."
        ),
        "tags": ["caios", "coreweave"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": list(_variables())},
        "panels": list(_panels()),
    }
    return json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"


def _variables() -> Iterator[dict[str, Any]]:
    yield {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
    }
    for name, label, among in (
        ("job", "Job", ""),
        ("namespace", "Namespace", '{job=~"$job"}'),
    ):
        yield {
            "name": name,
            "label": label,
            "type": "query",
            "datasource": _DATASOURCE,
            "query": f"label_values(caios_federation_build_info{among}, {name})",
            "refresh": 2,
            "includeAll": True,
            "multi": True,
            "current": {"text": "All", "value": "$__all"},
        }


def _panels() -> Iterator[dict[str, Any]]:
    number, top = 0, 0
    for row in yaml.safe_load(_PANELS.read_text(encoding="utf-8")):
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row["row"],
            "gridPos": {"x": 0, "y": top, "w": _WIDTH, "h": 1},
            "collapsed": False,
        }
        left, top = 0, top + 1
        for panel in row["panels"]:
            columns, height = panel.get("columns", 8), _HEIGHTS[panel.get("kind", "timeseries")]
            if left + columns > _WIDTH:
                left, top = 0, top + height
            number += 1
            yield _panel(panel, number, {"x": left, "y": top, "w": columns, "h": height})
            left += columns
        top += height


def _panel(panel: dict[str, Any], number: int, place: dict[str, int]) -> dict[str, Any]:
    kind, stacked = panel.get("kind", "timeseries"), panel.get("stacked", False)
    defaults: dict[str, Any] = {"unit": panel["unit"], "min": 0}
    if kind == "timeseries":
        defaults["custom"] = {
            "fillOpacity": 20 if stacked else 0,
            "showPoints": "never",
            "stacking": {"mode": "normal" if stacked else "none"},
        }
    return {
        "id": number,
        "type": kind,
        "title": panel["title"],
        "description": panel["description"],
        "datasource": _DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + position),
                "datasource": _DATASOURCE,
                "expr": query.replace("{OF", "{" + _SELECTED),
                "legendFormat": legend,
            }
            for position, (legend, query) in enumerate(panel["queries"].items())
        ],
    }


if __name__ == "__main__":
    DASHBOARD.write_text(render(), encoding="utf-8")
