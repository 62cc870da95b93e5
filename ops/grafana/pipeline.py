"""Where does the time go? What waits, for whom, and what does the work cost?"""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from ops.grafana.board import board
from ops.grafana.panels import GREEN, ORANGE, PLAIN, RED, Panel, Query, curves, number

UID = "headwater-pipeline"
_S = '{source=~"$source"}'
_RATE = "[$__rate_interval]"
_STAGES = 'source=~"$source", lane="$lane", stage!="total"'
_ROLE = "{{job}} {{role}}"


def pipeline() -> Dashboard:
    return board(
        UID,
        "Pipeline",
        "Where does the time go?",
        verdict=_verdict(),
        rows={
            "Where does a change's time go?": _stages(),
            "What waits?": _waiting(),
            "What is done?": _done(),
            "Who does it?": _processes(),
        },
        lanes=True,
    )


def _verdict() -> list[Panel]:
    return [
        number(
            "How many do not answer?",
            "Processes and servers that Prometheus cannot reach, and roles of which there was one within a "
            "day and there is none now.",
            'count(up{job=~"headwater|weaviate"} == 0\n'
            'or (role:headwater_missing unless on (role) up{job="headwater"})) or vector(0)',
            alerts=[
                "HeadwaterWorkerMissing",
                "HeadwaterRestarting",
                "HeadwaterExporterFailing",
                "HeadwaterIndexDown",
            ],
        ),
        number(
            "How much is late now?",
            "Changes that already wait for longer than their source's objective allows.",
            f"sum(max by (source) (headwater_overdue{_S}))",
            alerts=["HeadwaterChangesLate", "HeadwaterPipelineStuck"],
        ),
        number(
            "How many attempts failed?",
            "In the last hour: attempts that failed, documents given up, and faults of a store, a disk or "
            "the network. headwater status and headwater dead say why.",
            'sum(increase(headwater_outcomes_total{source=~"$source", result=~"failed|dead|fault"}[1h])) '
            "or vector(0)",
            steps=((None, GREEN), (1, ORANGE)),
            decimals=0,
            alerts=["HeadwaterDeadLetters", "HeadwaterPipelineStuck"],
        ),
        number(
            "How much is finished?",
            "Documents a minute that were made searchable, renamed or retired, over the last five minutes.",
            "60 * sum(rate(headwater_outcomes_total"
            '{source=~"$source", result=~"published|renamed|retired"}[5m]))',
            unit="opm",
            steps=PLAIN,
            none="nothing",
            decimals=1,
        ),
    ]


def _stages() -> list[Panel]:
    mean = " / on (stage) ".join(
        f"(sum by (stage) (rate(headwater_freshness_seconds_{part}{{{_STAGES}}}{_RATE})){more})"
        for part, more in (("sum", ""), ("count", " > 0"))
    )
    slow = f"sum by (stage, le) (rate(headwater_freshness_seconds_bucket{{{_STAGES}}}{_RATE}))"
    return [
        curves(
            "What does a change wait for, on average?",
            "Stages one above the other: detect (changed to observed), queue (to claimed), process (to "
            "staged), publish (to searchable). What is thick is what to look at; the runbook says where.",
            Query(mean, "{{stage}}"),
            unit="s",
            span=12,
            stacked=True,
            alerts=["HeadwaterChangesLate"],
        ),
        curves(
            "Which stage makes the slow ones slow?",
            "95 % of changes pass each stage within this. Each diamond is a document, by its generation, "
            "which the JSON logs have too.",
            Query(f"histogram_quantile(0.95, {slow})", "{{stage}}", exemplars=True),
            unit="s",
            span=12,
            logarithmic=True,
            alerts=["HeadwaterChangesLate"],
        ),
    ]


def _waiting() -> list[Panel]:
    return [
        curves(
            "How much waits?",
            "Documents not published yet: edits in the fresh lane, first indexes and large documents in the "
            "bulk lane. A bulk lane that is full is work; a fresh lane that stays full lacks workers.",
            Query("max by (lane) (headwater_pending)", "{{lane}}"),
            alerts=["HeadwaterPipelineStuck"],
        ),
        curves(
            "For how long has it been waiting?",
            "Age of the oldest change in each lane. It should fall again and again; a line that only rises "
            "is work that nobody finishes.",
            Query("max by (lane) (headwater_pending_oldest_age_seconds)", "{{lane}}"),
            unit="s",
            alerts=["HeadwaterPipelineStuck", "HeadwaterWorkerMissing"],
        ),
        curves(
            "Does anybody take the messages?",
            "Messages in Redis that no worker has taken. Nothing where one process does everything: it has "
            "no Redis.",
            Query("max by (lane) (headwater_broker_messages)", "{{lane}}"),
            alerts=["HeadwaterBrokerDown", "HeadwaterBrokerMemory", "HeadwaterWorkerMissing"],
        ),
    ]


def _done() -> list[Panel]:
    return [
        curves(
            "What becomes of documents?",
            "Transitions a second. published is an edit or a new document; unchanged cost nothing; failed, "
            "dead and fault should not be there.",
            Query(
                f"sum by (result) (rate(headwater_outcomes_total{_S}{_RATE}))",
                "{{result}}",
            ),
            unit="ops",
            stacked=True,
            alerts=["HeadwaterDeadLetters"],
        ),
        curves(
            "Does only the change cost?",
            "Chunks a second: embedded by the model, reused (their vector was there), retired. Much "
            "embedded for few edits: a new model or chunker, or documents that change all over.",
            Query(f"sum by (result) (rate(headwater_chunks_total{_S}{_RATE}))", "{{result}}"),
            unit="ops",
        ),
        curves(
            "How quick is the model?",
            "95 % of the batches of passages take no longer; a batch is up to 32 texts. Slower than it was: "
            "another process needs the processor, or the endpoint is at its limit.",
            Query(
                "histogram_quantile(0.95, sum by (lane, le) "
                f"(rate(headwater_embedding_seconds_bucket{_RATE})))",
                "{{lane}}",
            ),
            unit="s",
            alerts=["HeadwaterChangesLate"],
        ),
    ]


def _processes() -> list[Panel]:
    return [
        curves(
            "Who answers?",
            "Processes and servers that Prometheus reaches, by role. A layer ends: that role is missing.",
            Query('sum by (job, role) (up{job=~"headwater|weaviate"})', _ROLE),
            span=6,
            stacked=True,
            alerts=["HeadwaterWorkerMissing", "HeadwaterIndexDown", "HeadwaterExporterFailing"],
        ),
        curves(
            "Who needs the processor?",
            "Cores used by role. A worker at the limit of its container makes process long.",
            Query(
                f'sum by (job, role) (rate(process_cpu_seconds_total{{job="headwater"}}{_RATE}))',
                _ROLE,
            ),
            span=6,
            stacked=True,
        ),
        curves(
            "Who needs the memory?",
            "Resident memory of the largest process of each role. One that reaches its container's limit is "
            "killed.",
            Query(
                'max by (job, role) (process_resident_memory_bytes{job="headwater"})',
                _ROLE,
            ),
            unit="bytes",
            span=6,
            alerts=["HeadwaterWorkerMissing"],
        ),
        curves(
            "Are clocks apart?",
            "By how much the clock of a process differs from that of the ledger's database; from 2 s on "
            "every lag is wrong by so much. Nothing where the ledger is a file: it has this machine's "
            "clock.",
            Query("max by (role) (abs(headwater_clock_skew_seconds))", "{{role}}"),
            unit="s",
            span=6,
            steps=((None, GREEN), (2, RED)),
            alerts=["HeadwaterClockSkew"],
        ),
    ]
