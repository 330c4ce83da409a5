"""Small steps of learning that come by the thousand, as compiled loops."""

from __future__ import annotations

from pipeline.fusion.compiled import compile_as


@compile_as("void(f8[:,::1], f8[::1], b1[::1], f8[::1], i8[:,::1], f8[::1], f8)")
def add_transits(count, total, stale, departures, transits, weight, keep):  # type: ignore[no-untyped-def]
    """As `TransitCounts.add`. transits (3, N): row, place of departure and bin of each."""
    for n in range(len(weight)):
        row, fade = transits[0, n], keep ** weight[n]
        for at in range(count.shape[1]):
            count[row, at] *= fade
        total[row] *= fade
        departures[transits[1, n]] *= fade
        stale[row] = True
    for n in range(len(weight)):
        count[transits[0, n], transits[2, n]] += weight[n]
        total[transits[0, n]] += weight[n]
        departures[transits[1, n]] += weight[n]


@compile_as("Tuple((f8, f8))(f8[::1], f8, f8, f8)")
def moments(samples, mean, reach, share):  # type: ignore[no-untyped-def]
    """-> a mean that went `share` of the way to that of the samples, pulled in to `reach` from it, and their mean
    squared distance from the new one."""
    total = 0.0
    for sample in samples:
        total += min(max(sample, mean - reach), mean + reach)
    moved = mean + share * (total / len(samples) - mean)
    spread = 0.0
    for sample in samples:
        away = min(max(sample, mean - reach), mean + reach) - moved
        spread += away * away
    return moved, spread / len(samples)
