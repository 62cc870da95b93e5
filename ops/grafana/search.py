"""What do users get? How quickly, how fresh, and what was kept from them."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from ops.grafana.board import board
from ops.grafana.panels import GREEN, ORANGE, PLAIN, RED, YELLOW, Panel, Query, curves, number, quantiles

UID = "headwater-search"
_RATE = "[$__rate_interval]"
_BUCKETS = "headwater_search_seconds_bucket"
_NOBODY = "nobody asked"


def search() -> Dashboard:
    return board(
        UID,
        "Search",
        "What do users get?",
        verdict=_verdict(),
        rows={"How quickly?": _quickly(), "How fresh?": _fresh()},
    )


def _verdict() -> list[Panel]:
    return [
        number(
            "What share was outdated?",
            "Of the passages served in the last hour, those of which a newer revision was known and not "
            "searchable yet. They were marked as stale. It is the number that matters most: what users were "
            "told that was not so any more.",
            _share("headwater_search_stale_hits_total", "headwater_search_hits_total", "[1h]"),
            unit="percentunit",
            steps=((None, GREEN), (0.01, YELLOW), (0.05, RED)),
            none=_NOBODY,
            decimals=2,
            alerts=["HeadwaterChangesLate"],
        ),
        number(
            "How long do searches take?",
            "95 % of the searches of the last hour took no longer, the question's embedding included.",
            f"histogram_quantile(0.95, sum by (le) (increase({_BUCKETS}[1h]))) >= 0",
            unit="s",
            steps=((None, GREEN), (0.5, ORANGE), (2, RED)),
            none=_NOBODY,
        ),
        number(
            "How much is asked?",
            "Searches a minute, over the last five minutes. None at all: does the API answer?",
            "60 * sum(rate(headwater_search_seconds_count[5m]))",
            unit="reqpm",
            steps=PLAIN,
            none=_NOBODY,
            decimals=1,
            alerts=["HeadwaterWorkerMissing", "HeadwaterIndexDown", "HeadwaterExporterFailing"],
        ),
        number(
            "As of when are answers?",
            "Age of the watermark of the source that is furthest behind: answers show everything that "
            "changed before. Freshness says why it is old.",
            'max(time() - max by (source) (headwater_watermark_timestamp_seconds{source=~"$source"}))',
            unit="s",
            steps=((None, GREEN), (60, YELLOW), (180, RED)),
            decimals=0,
            alerts=["HeadwaterWatcherBlind", "HeadwaterPipelineStuck"],
        ),
    ]


def _quickly() -> list[Panel]:
    return [
        curves(
            "How long does a search take?",
            "The question's embedding included. All three rise: the processor or the index is busy. Only "
            "the slowest: common words, or a model that had to be loaded.",
            *quantiles(_BUCKETS),
            unit="s",
            span=12,
            logarithmic=True,
        ),
        curves(
            "What answers do users get?",
            "Searches a second. hybrid: as it should be. text: by words alone, as the model was away. none: "
            "an error, for which the question is not to blame: the ledger or the index was away. Nothing, "
            "while users ask: the API itself is.",
            Query(f"sum by (answer) (rate(headwater_searches_total{_RATE}))", "{{answer}}"),
            unit="reqps",
            span=12,
            alerts=["HeadwaterSearchesFailing", "HeadwaterSearchesByWordsAlone", "HeadwaterIndexDown"],
        ),
    ]


def _fresh() -> list[Panel]:
    return [
        curves(
            "What share is outdated, what kept back?",
            "outdated: passages served of which a newer revision was known. kept back: chunks of the index "
            "that the fence held back, as they were replaced or deleted. The second is work for nothing, "
            "and no harm; it stays high where the sweep does not run.",
            Query(
                _share("headwater_search_stale_hits_total", "headwater_search_hits_total", _RATE),
                "outdated",
            ),
            Query(
                _share("headwater_search_fenced_out_total", "headwater_search_candidates_total", _RATE),
                "kept back",
            ),
            unit="percentunit",
            span=8,
            alerts=["HeadwaterChangesLate"],
        ),
        curves(
            "What does an answer hold?",
            "Passages in an answer, and chunks of the index that were looked through for it. Few passages "
            "for many chunks: the fence keeps much back.",
            Query(_per_search("headwater_search_hits_total"), "served"),
            Query(_per_search("headwater_search_candidates_total"), "looked through"),
            span=8,
        ),
        curves(
            "As of when are answers, by source?",
            "Age of each source's watermark. A few seconds are usual; one that grows is a source with a "
            "change that waits, or one that nobody sees.",
            Query(
                'time() - max by (source) (headwater_watermark_timestamp_seconds{source=~"$source"})',
                "{{source}}",
            ),
            unit="s",
            span=8,
            alerts=["HeadwaterWatcherBlind", "HeadwaterPipelineStuck"],
        ),
    ]


def _share(part: str, whole: str, over: str) -> str:
    return f"sum(increase({part}{over})) / (sum(increase({whole}{over})) > 0)"


def _per_search(count: str) -> str:
    return f"sum(rate({count}{_RATE})) / (sum(rate(headwater_search_seconds_count{_RATE})) > 0)"
