"""A cluster on which the operator is installed as users do it, with all that it needs around."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from caios_testbed.cluster.cluster import Cluster
from caios_testbed.cluster.oci import Image
from caios_testbed.coreweave.beside import EmulatorProcess
from caios_testbed.coreweave.settings import DEMO_ORGANIZATION
from caios_testbed.product import Kubectl
from caios_testbed.release import Release, Values

Json = dict[str, Any]
REGION = "US-CENTRAL-05A"


@dataclass(frozen=True, slots=True)
class Site:
    """A cluster with the emulator in its network, and what may be installed on it."""

    cluster: Cluster
    emulator: EmulatorProcess
    operator: Image
    """The operator's image, of this checkout."""
    workload: str
    """Reference of an image with a shell, for Pods that idle."""

    @property
    def kubectl(self) -> Kubectl:
        """Kubectl as the cluster's administrator."""
        return Kubectl(self.cluster.kubectl, self.cluster.kubeconfig)

    @property
    def release(self) -> Release:
        """The operator's release, installed or not."""
        return Release(self.cluster)

    @property
    def values(self) -> Values:
        """What an installation on this cluster must say: organization, region, whom to trust."""
        return {
            "config": {"orgID": DEMO_ORGANIZATION, "region": REGION},
            "coreweave": {"caBundle": self.emulator.authority.pem.decode()},
        }

    def install(self, values: Values | None = None) -> Release:
        """Install the operator with `values` beside those that it must have."""
        release = self.release
        release.install(merged(self.values, values or {}), self.operator)
        return release

    def apply(self, *objects: Json) -> str:
        """Apply objects in one call; return what kubectl says, warnings included."""
        return self.kubectl.run("apply", "-f", "-", manifest=yaml.safe_dump_all(objects))

    def get(self, *arguments: str) -> Json:
        """Return an object; an empty one where there is none."""
        text = self.kubectl.run("get", *arguments, "--ignore-not-found", "-o=json")
        found: Json = json.loads(text) if text.strip() else {}
        return found


def merged(one: Values, other: Values) -> Values:
    """Return values with those of `other` put over those of `one`, as Helm does."""
    both = {
        key: merged(one[key], value)
        for key, value in other.items()
        if isinstance(value, Mapping) and isinstance(one.get(key), Mapping)
    }
    return {**one, **other, **both}
