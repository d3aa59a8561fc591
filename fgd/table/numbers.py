"""Means and deviations of APs, of which some may not be there yet."""

import statistics
from collections.abc import Iterable
from typing import Any

from scipy.stats import t


def means_of(several: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean of metrics with the same keys; -1, no object of that kind, is that of the data."""
    first = several[0]
    return {
        key: means_of([metrics[key] for metrics in several])
        if isinstance(first[key], dict)
        else statistics.fmean(metrics[key] for metrics in several)
        for key in first
        if all(metrics.get(key) is not None for metrics in several)
    }


def mean(values: Iterable[float | None]) -> float | None:
    """With one decimal; None if there is no value at all."""
    # Rounded once, here, so that every difference is the one that a reader computes.
    known = there(values)
    return round(statistics.fmean(known), 1) if known else None


def deviation(values: Iterable[float | None]) -> float | None:
    """The sample standard deviation, with one decimal; None for fewer than two values."""
    known = there(values)
    return round(statistics.stdev(known), 1) if len(known) > 1 else None


def interval(values: Iterable[float | None]) -> tuple[float, float] | None:
    """Within which their true mean lies with a confidence of 0.95; None for fewer than two values.

    Student's t: for as few values as there are seeds, under the assumption that they are normal.
    """
    known = there(values)
    if len(known) < 2:
        return None
    mean, error = statistics.fmean(known), statistics.stdev(known) / len(known) ** 0.5
    half = float(t.ppf(0.975, len(known) - 1)) * error
    return round(mean - half, 1), round(mean + half, 1)


def there(values: Iterable[float | None]) -> list[float]:
    """The values that there are."""
    return [value for value in values if value is not None]


def difference(a: float | None, b: float | None) -> float | None:
    """a - b, if there are both."""
    return None if a is None or b is None else a - b
