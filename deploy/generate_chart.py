#!/usr/bin/env python3
"""Write the parts of the chart that have their source elsewhere in the repository.

The CRDs, the alerts and the dashboard are copied, because a chart is packaged from its own folder
alone; the schema of the value `federation` is made of the CRD of StorageFederation.

Usage: python deploy/generate_chart.py
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[1]
CHART: Final = ROOT / "deploy/chart"
SCHEMA: Final = CHART / "values.schema.json"
COPIES: Final = {
    "crds/federatedstoragebindings.yaml": "crds/federatedstoragebindings.yaml",
    "crds/storagefederations.yaml": "crds/storagefederations.yaml",
    "files/alerts.yaml": "deploy/observability/alerts.yaml",
    "files/dashboard.json": "deploy/observability/dashboard.json",
}
"""Files of the chart, each with its source."""
_ELSEWHERE: Final = {
    "organizationID": "config.orgID",
    "region": "config.region",
    "verification": "verification.enabled",
}
"""Fields of the spec that other values decide."""
_DROPPED: Final = {"default", "format"}


def main() -> None:
    """Write the files."""
    for path, content in files():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def files() -> Iterator[tuple[Path, str]]:
    """Yield each generated file of the chart with its content."""
    for target, source in COPIES.items():
        if (ROOT / source).exists():
            yield CHART / target, (ROOT / source).read_text(encoding="utf-8")
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    schema["properties"]["federation"] = federation_schema()
    yield SCHEMA, json.dumps(schema, indent=2) + "\n"


def federation_schema() -> dict[str, Any]:
    """Return the schema of the value `federation`: the spec of the CRD, closed."""
    crd = yaml.safe_load((ROOT / "crds/storagefederations.yaml").read_text(encoding="utf-8"))
    openapi = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    spec = _closed(openapi["properties"]["spec"])
    del spec["required"]
    for field in _ELSEWHERE:
        del spec["properties"][field]
    return spec


def _closed(node: dict[str, Any]) -> dict[str, Any]:
    """Return a schema of the CRD as plain JSON schema that refuses what it does not know."""
    kept = {
        key: value
        for key, value in node.items()
        if not key.startswith("x-kubernetes-") and key not in _DROPPED
    }
    if "items" in kept:
        kept["items"] = _closed(kept["items"])
    if "properties" in kept:
        kept["properties"] = {name: _closed(child) for name, child in kept["properties"].items()}
        kept["additionalProperties"] = False
    elif "additionalProperties" in kept:
        kept["additionalProperties"] = _closed(kept["additionalProperties"])
    return kept


if __name__ == "__main__":
    main()
