"""The metrics as Prometheus reads them: every family that there is, with or without a number yet.

`prometheus_client` writes the text; nothing is registered in its global registry, and it counts nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from freshness.metrics import COUNTED, GAUGES, SUM, Counter, Gauge, Histogram, Series

#: One gauge's number: the gauge, its labels' values, and how it stands.
Standing = tuple[Gauge, tuple[str, ...], float]


@dataclass(frozen=True, eq=False)
class Seen(Collector):
    """What was seen at one moment. `counted` is None if it could not be: then no counter is shown, rather than a wrong
    one."""

    standing: Sequence[Standing]
    counted: Mapping[Series, float] | None

    def collect(self) -> Iterator[Metric]:
        """Every family, in the order of the tables."""
        for gauge in GAUGES:
            family = GaugeMetricFamily(gauge.name, gauge.help, labels=gauge.labels)
            for each, labels, value in self.standing:
                if each is gauge:
                    family.add_metric(labels, value)
            yield family
        for metric in COUNTED:
            own = [(labels, value) for (name, labels), value in (self.counted or {}).items() if name == metric.name]
            if isinstance(metric, Histogram):
                yield _histogram(metric, own)
            else:
                yield _counter(metric, own, shows_zeros=self.counted is not None)


def written(seen: Seen, accept: str) -> tuple[bytes, str]:
    """The text in the form that the `Accept` header asks for, and its content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(seen)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _counter(metric: Counter, own: Iterable[tuple[tuple[str, ...], float]], *, shows_zeros: bool) -> Metric:
    family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    values: dict[tuple[str, ...], float] = {(known,): 0.0 for known in metric.known} if shows_zeros else {}
    for labels, value in sorted((values | dict(own)).items()):
        family.add_metric(labels, value)
    return family


def _histogram(metric: Histogram, own: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for (*labels, bound), value in own:
        found.setdefault(tuple(labels), {})[bound] = value
    for labels_of_one, counts in sorted(found.items()):
        total = counts.pop(SUM, 0.0)
        within = dict.fromkeys((*metric.bounds, math.inf), 0.0)
        for bound_text, count in counts.items():
            within[float(bound_text)] = within.get(float(bound_text), 0.0) + count
        buckets, so_far = [], 0.0
        for limit in sorted(within):
            so_far += within[limit]
            buckets.append((str(floatToGoString(limit)), so_far))  # type: ignore[no-untyped-call]
        family.add_metric(labels_of_one, buckets, sum_value=total)
    return family
