"""Which documents to look at next, where looks are counted: those where a look is worth most. Pure.

**What is learnt.** A document changes as a Poisson process of a rate that nobody knows, and a look tells only
whether it changed since the look before, not how often (J. Cho and H. Garcia-Molina, "Estimating frequency of
change", ACM TOIT 3(3), 2003). Their estimate of n looks at regular intervals I of which X found a change,
-log((n - X + 0.5) / (n + 0.5)) / I, needs intervals that are alike, and ours are not: what is learnt changes
them. So the rate is held as a gamma distribution of ``shape`` a and ``span`` b (seconds), of mean a / b, and
each look moves it by Bayes' rule. No change within a time t, of likelihood e^(-rt), makes it a, b + t,
exactly. A change, of likelihood 1 - e^(-rt), leaves no gamma distribution; the one of its mean and variance
takes its place (moments in closed form, as E[e^(-rt)] = (b / (b + t))^a). Two numbers a document, whatever
the intervals; the prior does what the halves do in the estimate above: nothing is taken for unchanging, or
for always changing, because a few looks said so.

**What is chosen.** The age of a document is the time since the first change that no look has found, 0 if none
is. Looked at every I seconds, at rate r, its mean is A(I) = I/2 - 1/r + (1 - e^(-rI)) / (r^2 I). The sum
of A over all documents, with so many looks a second in all (the sum of 1/I), is least where I^2 A'(I) is the
same for all (Lagrange: dA/dI = m / I^2). That is

    V(r, t) = t^2/2 - (1 - e^(-rt) (1 + rt)) / r^2

at t = I. It grows with t: so whoever looks, whenever there is a look to spend, where V(r, time since the last
look) is greatest, keeps to that least sum, and comes to every document in the end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PRIOR_SHAPE = 0.5  # wide: of pages, some change hourly and some never
PRIOR_SPAN_S = 0.5 * 86_400.0  # with it, once a day on average
MOST_SHAPE = 30.0  # what was learnt long ago gives way: a document may change its ways
_LEAST_S = 1.0
_SERIES_BELOW = 0.01


def learnt(
    shape: Floats, span_s: Floats, elapsed_s: Floats, changed: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """What is known after a look, ``elapsed_s`` after the one before: ``shape`` and ``span_s`` anew."""
    elapsed_s = np.maximum(elapsed_s, _LEAST_S)
    longer = span_s + elapsed_s
    unchanged = np.exp(shape * np.log(span_s / longer))  # that it would be, as known before
    found = -np.expm1(shape * np.log(span_s / longer))
    mean = shape * (1 / span_s - unchanged / longer) / found
    square = shape * (shape + 1) * (1 / span_s**2 - unchanged / longer**2) / found
    variance = np.maximum(square - mean**2, 1e-9 * mean**2)
    new_shape = np.where(changed, mean**2 / variance, shape)
    new_span = np.where(changed, mean / variance, longer)
    much = np.maximum(new_shape / MOST_SHAPE, 1.0)
    return new_shape / much, new_span / much


def worth(rate: Floats, since_s: Floats) -> Floats:
    """V: seconds of age, times seconds, that a look now saves. ``rate``: changes a second."""
    x = rate * since_s
    series = x / 3 - x**2 / 8 + x**3 / 30  # where the differences below would be lost in rounding
    large = np.maximum(x, _SERIES_BELOW)
    whole = 0.5 - (1 - np.exp(-large) * (1 + large)) / large**2
    return since_s**2 * np.where(x < _SERIES_BELOW, series, whole)


def mean_age(rate: Floats, interval_s: Floats) -> Floats:
    """A: the mean age of what is looked at so often."""
    x = rate * interval_s
    series = x / 6 - x**2 / 24
    large = np.maximum(x, _SERIES_BELOW)
    whole = 0.5 - 1 / large + -np.expm1(-large) / large**2
    return interval_s * np.where(x < _SERIES_BELOW, series, whole)


def best(shape: Floats, span_s: Floats, since_s: Floats, at_most: int) -> NDArray[np.intp]:
    """Where the next looks are worth most; the best one first."""
    value = worth(shape / span_s, since_s)
    if at_most >= len(value):
        return np.argsort(-value, kind="stable")
    some = np.argpartition(-value, at_most)[:at_most]
    return some[np.argsort(-value[some], kind="stable")]
