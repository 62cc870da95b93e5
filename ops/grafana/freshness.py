"""Is the knowledge base current? If not: which source, since when, and does anybody see it?"""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from ops.grafana.board import board
from ops.grafana.panels import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    YELLOW,
    Column,
    Panel,
    Query,
    curves,
    number,
    quantiles,
    sources,
    states,
)
from ops.verdicts import GOOD, Verdict

UID = "headwater-freshness"
# In the order of how bad it is.
COLOURS = {
    Verdict.IDLE: BLUE,
    Verdict.CURRENT: GREEN,
    Verdict.LAGGING: YELLOW,
    Verdict.PARTIAL: ORANGE,
    Verdict.HELD: ORANGE,
    Verdict.STARVED: RED,
    Verdict.STUCK: RED,
    Verdict.BLIND: "purple",
}
_BAD = "|".join(verdict for verdict in COLOURS if verdict not in GOOD)
_S = '{source=~"$source"}'
_BEHIND = f"time() - max by (source) (headwater_watermark_timestamp_seconds{_S})"
_LAG = f"max by (source) (headwater_index_lag_seconds{_S})"
_PROMISED = 'max by (source) (headwater_objective_within_seconds{source=~"$source", kind="change"})'


def freshness() -> Dashboard:
    return board(
        UID,
        "Freshness",
        "Is the knowledge base current?",
        verdict=_verdict(),
        rows={
            "Is it in time?": _in_time(),
            "How long does it take?": _how_long(),
            "Is everything seen?": _seen(),
            "Does the canary sing?": _canary(),
        },
    )


def _verdict() -> list[Panel]:
    return [
        number(
            "How many are not current?",
            "Sources that are neither current nor idle. The table below says which, and what their verdict "
            "is.",
            f'sum(max by (source) (headwater_verdict{{source=~"$source", verdict=~"{_BAD}"}}))',
            steps=((None, GREEN), (1, RED)),
            alerts=["HeadwaterPipelineStuck", "HeadwaterExporterFailing"],
        ),
        number(
            "How far behind are answers?",
            "Age of the watermark of the source that is furthest behind: everything that changed before is "
            "searchable. Some seconds are usual; it grows with a change that waits, and with a source that "
            "nobody sees.",
            f"max({_BEHIND})",
            unit="s",
            steps=((None, GREEN), (60, YELLOW), (180, RED)),
            decimals=0,
            alerts=["HeadwaterWatcherBlind"],
        ),
        number(
            "How much may still be late?",
            "What is left of the error budget of the source that has least: 100 % untouched, 0 % used up, "
            "below that more was late than its objective allows.",
            f"min(headwater_error_budget_left_ratio{_S})",
            unit="percentunit",
            steps=((None, RED), (0, ORANGE), (0.25, GREEN)),
            decimals=0,
            alerts=["HeadwaterChangesLate", "HeadwaterDeletionsLate"],
        ),
        number(
            "How much waits for a person?",
            "Documents whose attempts ran out, and documents that seem to be gone and are served until "
            "somebody approves. Neither goes on by itself.",
            f"sum(max by (source) (headwater_dead_letters{_S}))\n"
            '+ sum(max by (source) (headwater_documents{source=~"$source", state="held"}))',
            steps=((None, GREEN), (1, ORANGE)),
            alerts=["HeadwaterDeadLetters", "HeadwaterDeletionsHeld"],
        ),
    ]


def _in_time() -> list[Panel]:
    words = {verdict.value: (verdict.value, colour) for verdict, colour in COLOURS.items()}
    coded = {str(code): word for code, word in enumerate(words.values())}
    code_of = "\nor ".join(
        f'{code} * (headwater_verdict{{source=~"$source", verdict="{verdict}"}} == 1)'
        for code, verdict in enumerate(words)
    )
    return [
        sources(
            "Which source is not current?",
            "A row for each source. Oldest change: what has waited longest to be searchable. Promise used: "
            "that time as a share of what the objective allows; from 100 % on it is late.",
            'max by (source, verdict) (headwater_verdict{source=~"$source"} == 1)',
            words,
            _columns(),
            alerts=[
                "HeadwaterChangesLate",
                "HeadwaterPipelineStuck",
                "HeadwaterWatcherBlind",
                "HeadwaterSourceFault",
            ],
        ),
        curves(
            "How long has the oldest change waited?",
            "Of each source, until it is searchable; 0 while nothing waits. Dashed: what the source's "
            "objective allows. Above it, changes are late.",
            Query(_LAG, "{{source}}"),
            Query(_PROMISED, "promised for {{source}}"),
            unit="s",
            span=12,
            dashed="^promised",
            alerts=["HeadwaterChangesLate"],
        ),
        states(
            "What was the verdict, and when?",
            "lagging: late, and work goes on. starved: nobody takes what waits. stuck: it is tried, and "
            "nothing comes of it. blind: nobody sees whether anything changed. held: deletions wait for a "
            "person. partial: a part of it is not looked after.",
            Query(f"max by (source) (\n{code_of})", "{{source}}"),
            coded,
            alerts=["HeadwaterPipelineStuck", "HeadwaterWatcherBlind", "HeadwaterDeletionsHeld"],
        ),
    ]


def _columns() -> list[Column]:
    return [
        Column("Behind", _BEHIND, "s", ((None, GREEN), (60, YELLOW), (180, RED))),
        Column("Oldest change", _LAG, "s"),
        Column(
            "Promise used",
            f"{_LAG} / on (source) {_PROMISED}",
            "percentunit",
            ((None, GREEN), (0.5, YELLOW), (1, RED)),
        ),
        Column("Late now", f"max by (source) (headwater_overdue{_S})", steps=((None, GREEN), (1, RED))),
        Column(
            "Budget left",
            f"min by (source) (headwater_error_budget_left_ratio{_S})",
            "percentunit",
            ((None, RED), (0, ORANGE), (0.25, GREEN)),
        ),
        Column(
            "Dead letters",
            f"max by (source) (headwater_dead_letters{_S})",
            steps=((None, GREEN), (1, ORANGE)),
        ),
        Column("Held", _documents("held"), steps=((None, GREEN), (1, ORANGE))),
        Column("Faults", f"max by (source) (headwater_source_fault{_S})", steps=((None, GREEN), (1, ORANGE))),
        Column("Pending", _documents("pending")),
        Column("Live", _documents("live")),
    ]


def _documents(state: str) -> str:
    return f'max by (source) (headwater_documents{{source=~"$source", state="{state}"}})'


def _how_long() -> list[Panel]:
    changes = 'headwater_freshness_seconds_bucket{source=~"$source", stage="total", lane="fresh"}'
    deletions = 'headwater_deletion_seconds_bucket{source=~"$source", stage="total"}'
    return [
        curves(
            "How long does a change take?",
            "From a change at its source until it is searchable; edits and new files, not first indexes. "
            "Dashed: the strictest objective. Each diamond is a document, by its generation, which the JSON "
            "logs have too.",
            *quantiles(changes, exemplars=True),
            Query(f"min({_PROMISED})", "promised"),
            unit="s",
            logarithmic=True,
            dashed="^promised",
            alerts=["HeadwaterChangesLate"],
        ),
        curves(
            "For how long is a deleted passage served?",
            "From a deletion at its source until no search shows it. It passes before the deletion is "
            "noticed, so a bad value is the watcher's. Dashed: the strictest objective. Each diamond is a "
            "document.",
            *quantiles(deletions, exemplars=True),
            Query(
                'min(headwater_objective_within_seconds{source=~"$source", kind="deletion"})',
                "promised",
            ),
            unit="s",
            logarithmic=True,
            dashed="^promised",
            alerts=["HeadwaterDeletionsLate"],
        ),
        curves(
            "How fast is the error budget spent?",
            "Over the last hour. 1 spends exactly what the objective allows; from 14.4 on at the latest a "
            "page is sent, if at least three were late. Nothing is drawn where nothing changed.",
            Query('source_kind:headwater_burn:rate1h{source=~"$source"}', "{{source}}, {{kind}}s"),
            steps=((None, GREEN), (1, ORANGE), (14.4, RED)),
            alerts=["HeadwaterChangesLate", "HeadwaterDeletionsLate"],
        ),
    ]


def _seen() -> list[Panel]:
    return [
        curves(
            "When was a source last looked at?",
            "Since its last complete listing, and since an event last told of a change. A quiet folder has "
            "no events; a source that has neither for longer than its scan_every_s is not watched.",
            Query(
                f"time() - max by (source) (headwater_last_listing_timestamp_seconds{_S})",
                "{{source}}, listing",
            ),
            Query(
                f"time() - max by (source) (headwater_last_event_timestamp_seconds{_S})",
                "{{source}}, event",
            ),
            unit="s",
            alerts=["HeadwaterWatcherBlind"],
        ),
        curves(
            "Do events miss changes?",
            "Changes that only a listing found, and times that events were lost because they came too "
            "quickly. Now and then is harmless; again and again, a mount or a limit hides changes: "
            "headwater doctor.",
            Query(
                f"sum by (source) (increase(headwater_scan_missed_changes_total{_S}[$__rate_interval]))",
                "{{source}}, missed",
            ),
            Query(
                f"sum by (source) (increase(headwater_queue_overflows_total{_S}[$__rate_interval]))",
                "{{source}}, lost events",
            ),
            alerts=["HeadwaterWatcherBlind", "HeadwaterDeletionsLate"],
        ),
        curves(
            "Do sources, ledger and index agree?",
            "What the last audit found to differ, by kind, whether it mended it or not; 0 is right. Nothing "
            "before the first audit, which comes within six hours, or with headwater audit.",
            Query("max by (kind) (headwater_audit_drift)", "{{kind}}"),
            alerts=["HeadwaterDrift"],
        ),
    ]


def _canary() -> list[Panel]:
    """Tells a dead watcher from a quiet folder: a document of our own, written, edited and deleted."""
    return [
        curves(
            "When did a round last succeed?",
            "Since the canary's document was last written, edited and deleted, and searches told of each in "
            "time. It falls with every round; while it rises, users' documents fare the same.",
            Query(
                "time() - max by (kind) (headwater_canary_last_success_timestamp_seconds)",
                "{{kind}}",
            ),
            unit="s",
            steps=((None, GREEN), (900, RED)),
            alerts=["HeadwaterCanaryFailing"],
        ),
        curves(
            "How long does each step take?",
            "95 % of the steps of the canary's rounds take no longer until a search tells of them. It is "
            "what an edit of a small document takes, though nobody made one.",
            Query(
                "histogram_quantile(0.95, sum by (kind, step, le) "
                "(rate(headwater_canary_seconds_bucket[$__rate_interval])))",
                "{{kind}}, {{step}}",
            ),
            unit="s",
            alerts=["HeadwaterCanaryFailing"],
        ),
        curves(
            "At which step did it fail?",
            "Rounds that failed. write and edit: the path from watcher to index. delete: the watcher or the "
            "ledger.",
            Query(
                "sum by (kind, step) (increase(headwater_canary_failures_total[$__rate_interval]))",
                "{{kind}}, {{step}}",
            ),
            alerts=["HeadwaterCanaryFailing"],
        ),
    ]
