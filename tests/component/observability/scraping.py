"""What `/metrics` shows, read by Prometheus' own parser for Python."""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

PREFIX = "caios_federation_"


@dataclass(frozen=True, slots=True)
class Scrape:
    """All samples at a moment, by name and labels."""

    samples: dict[tuple[str, frozenset[tuple[str, str]]], float]

    @classmethod
    def of(cls, text: str) -> "Scrape":
        return cls(
            {
                (sample.name, frozenset(sample.labels.items())): sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            }
        )

    def __call__(self, name: str, **labels: str) -> float | None:
        """Return the value of a metric of ours; None where it is not there."""
        return self.samples.get((f"{PREFIX}{name}", frozenset(labels.items())))

    def counted(self, name: str) -> dict[str, float]:
        """Return the values of a metric that are not 0, by the values of its labels."""
        return {
            " ".join(value for _, value in sorted(labels)): count
            for (found, labels), count in self.samples.items()
            if found == f"{PREFIX}{name}" and count
        }

    def label_values(self) -> Iterator[str]:
        """Yield every value of every label."""
        for _, labels in self.samples:
            for _, value in labels:
                yield value


def scrape(registry: CollectorRegistry) -> Scrape:
    """Return what a registry holds now."""
    return Scrape.of(generate_latest(registry).decode())
