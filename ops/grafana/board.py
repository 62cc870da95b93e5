"""What the dashboards have in common: variables, links to each other, and alerts drawn over every curve."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from grafana_foundation_sdk.builders.dashboard import (
    AnnotationQuery,
    CustomVariable,
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from ingestion.records import Lane
from ops.grafana.panels import DATASOURCE, Panel, Query, names

TAG = "headwater"
_FIRING = 'ALERTS{alertname=~"Headwater.+", alertstate="firing"}'


def board(
    uid: str,
    title: str,
    question: str,
    *,
    verdict: Sequence[Panel],
    rows: Mapping[str, Iterable[Panel]],
    lanes: bool = False,
) -> Dashboard:
    """``verdict`` is the first row, beside what fires; the others have titles. ``lanes``: whether one of them
    is chosen."""
    made = (
        Dashboard(f"Headwater: {title}")
        .uid(uid)
        .description(question)
        .tags([TAG])
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-1h", "now")
        .refresh("30s")
        .with_variable(_datasource())
        .with_variable(_source())
        .annotation(_alerts())
        .link(_others())
    )
    if lanes:
        made.with_variable(_lane())
    for number, panel in enumerate((_firing(), *verdict), 1):
        made.with_panel(panel.id(number))
    for row, (heading, panels) in enumerate(rows.items(), 1):
        made.with_row(Row(heading).id(100 * row))
        for number, panel in enumerate(panels, 1):
            made.with_panel(panel.id(100 * row + number))
    return made


def _firing() -> Panel:
    return names(
        "What is wrong?",
        "The alerts that fire. Each has a section in the runbook (above, under Headwater): what it means, "
        "what to look at first, what to do.",
        Query(
            f'sum by (alert) (label_replace({_FIRING}, "alert", "$1", "alertname", "Headwater(.+)"))\n'
            f'or (label_replace(vector(0), "alert", "Nothing", "", "") unless on () {_FIRING})',
            "{{alert}}",
        ),
    )


def _datasource() -> DatasourceVariable:
    return (
        DatasourceVariable("datasource")
        .label("Prometheus")
        .type("prometheus")
        .current(VariableOption(text="Prometheus", value="prometheus"))
    )


def _source() -> QueryVariable:
    return (
        QueryVariable("source")
        .label("Source")
        .datasource(DATASOURCE)
        .query("label_values(headwater_objective_share, source)")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(text="All", value="$__all"))
    )


def _lane() -> CustomVariable:
    return (
        CustomVariable("lane")
        .label("Lane")
        .values(",".join(Lane))
        .current(VariableOption(text=Lane.FRESH.value, value=Lane.FRESH.value))
        .options(
            [VariableOption(selected=one is Lane.FRESH, text=one.value, value=one.value) for one in Lane]
        )
    )


def _alerts() -> AnnotationQuery:
    return (
        AnnotationQuery()
        .name("Alerts")
        .datasource(DATASOURCE)
        .enable(True)
        .icon_color("red")
        .target(Dataquery().datasource(DATASOURCE).expr(_FIRING).ref_id("Alerts").range().interval("30s"))
        .title_format("{{alertname}}")
        .text_format("{{source}} {{role}}")
    )


def _others() -> DashboardLink:
    return (
        DashboardLink("Headwater")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .keep_time(True)
        .include_vars(True)
        .as_dropdown(False)
    )
