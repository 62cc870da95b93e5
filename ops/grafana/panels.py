"""What every dashboard is put together from: a number, curves, states over time, a table.

A panel answers the question that is its title; its description says what is shown and what a bad value means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    DataSourceRef,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    ScaleDistribution,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from ops.grafana import runbook

DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, YELLOW, ORANGE, RED, BLUE = "green", "yellow", "orange", "red", "blue"
STAT_HEIGHT, TABLE_HEIGHT, SERIES_HEIGHT = 4, 6, 8
# A point a minute at least, over what Prometheus needs for a rate: documents change seldom.
_RATE_INTERVAL = "1m"
_POINTS = 300  # quantiles of a thousand sources stay within what Prometheus takes for one query

Panel = stat.Panel | timeseries.Panel | statetimeline.Panel | table.Panel
Steps = Sequence[tuple[float | None, str]]
Words = Mapping[str, tuple[str, str]]

FROM_ONE_ON: Steps = ((None, GREEN), (1, RED))
PLAIN: Steps = ((None, BLUE),)


@dataclass(frozen=True, slots=True)
class Query:
    """``exemplars``: show beside the curve single documents, by their generation."""

    expr: str
    legend: str = ""
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """Of a table with a row for each source: an instant query that gives one number of each."""

    title: str
    expr: str
    unit: str = "short"
    steps: Steps = ()


def number(
    title: str,
    meaning: str,
    expr: str,
    *,
    unit: str = "short",
    steps: Steps = FROM_ONE_ON,
    none: str = "not known",
    decimals: int | None = None,
    alerts: Sequence[str] = (),
) -> stat.Panel:
    """One number, coloured by its steps; ``none`` is shown where there is nothing to be measured."""
    panel = (
        _stat(title, meaning, alerts)
        .with_target(_instant(Query(expr)))
        .unit(unit)
        .no_value(none)
        .thresholds(_thresholds(steps))
        .text_mode(BigValueTextMode.VALUE)
        .span(4)
    )
    return panel if decimals is None else panel.decimals(decimals)


def names(title: str, meaning: str, query: Query, *, steps: Steps = FROM_ONE_ON) -> stat.Panel:
    """The names of all series that a query gives, each coloured by its value."""
    return (
        _stat(title, meaning, ())
        .with_target(_instant(query))
        .thresholds(_thresholds(steps))
        .text_mode(BigValueTextMode.NAME)
        .span(8)
    )


def curves(
    title: str,
    meaning: str,
    *queries: Query,
    unit: str = "short",
    span: int = 8,
    stacked: bool = False,
    logarithmic: bool = False,
    steps: Steps = (),
    dashed: str = "",
    alerts: Sequence[str] = (),
) -> timeseries.Panel:
    """``steps`` are drawn as lines across; series whose name matches ``dashed`` are what was promised."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(meaning)
        .datasource(DATASOURCE)
        .targets([_ranged(query, ref) for query, ref in zip(queries, _refs(len(queries)), strict=True)])
        .links([runbook.link(alert) for alert in alerts])
        .unit(unit)
        .min(0)
        .span(span)
        .height(SERIES_HEIGHT)
        .interval(_RATE_INTERVAL)
        .max_data_points(_POINTS)
        .color_scheme(FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .fill_opacity(60 if stacked else 8)
        .line_width(0 if stacked else 1.5)
        .show_points(VisibilityMode.AUTO)
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .legend(_legend())
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    if logarithmic:
        panel.min(0.001).scale_distribution(
            common.ScaleDistributionConfig().type(ScaleDistribution.LOG).log(10)
        )
    if steps:
        panel.thresholds(_thresholds(steps)).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        )
    if dashed:
        panel.override_by_regexp(f"/{dashed}/", _promised())
    return panel


def quantiles(buckets: str, *, exemplars: bool = False) -> list[Query]:
    """The middle one and the slow ones. Documents are shown beside the slowest alone, not thrice."""
    return [
        Query(
            f"histogram_quantile({quantile}, sum by (le) (rate({buckets}[$__rate_interval])))",
            name,
            exemplars=exemplars and quantile == 0.99,
        )
        for quantile, name in ((0.5, "half"), (0.95, "95 %"), (0.99, "99 %"))
    ]


def states(
    title: str, meaning: str, query: Query, words: Words, *, span: int = 12, alerts: Sequence[str] = ()
) -> statetimeline.Panel:
    """A row for each series; ``words`` say what each of its values means."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(meaning)
        .datasource(DATASOURCE)
        .with_target(_ranged(query, "A"))
        .links([runbook.link(alert) for alert in alerts])
        .mappings([_worded(words)])
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .merge_values(True)
        .show_value(VisibilityMode.AUTO)
        .row_height(0.8)
        .legend(_legend().show_legend(False))
        .span(span)
        .height(SERIES_HEIGHT)
    )


def sources(
    title: str, meaning: str, verdict: str, words: Words, columns: Sequence[Column], *, alerts: Sequence[str]
) -> table.Panel:
    """A row for each source: its verdict, a label of the first query, then a column for each other one."""
    refs = _refs(len(columns) + 1)
    panel = (
        table.Panel()
        .title(title)
        .description(meaning)
        .datasource(DATASOURCE)
        .targets(
            [
                _instant(Query(expr), ref).format(PromQueryFormat.TABLE)
                for expr, ref in zip((verdict, *(one.expr for one in columns)), refs, strict=True)
            ]
        )
        .links([runbook.link(alert) for alert in alerts])
        .with_transformation(DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(DataTransformerConfig(id_val="organize", options=_organized(columns, refs)))
        .no_value("")
        .span(24)
        .height(TABLE_HEIGHT)
        .override_by_name("Verdict", [*_coloured(), DynamicConfigValue("mappings", [_worded(words)])])
    )
    for column in columns:
        cell = [DynamicConfigValue("unit", column.unit)]
        if column.steps:
            cell += [*_coloured(), DynamicConfigValue("thresholds", _thresholds(column.steps).build())]
        panel.override_by_name(column.title, cell)
    return panel


def _stat(title: str, meaning: str, alerts: Sequence[str]) -> stat.Panel:
    return (
        stat.Panel()
        .title(title)
        .description(meaning)
        .datasource(DATASOURCE)
        .links([runbook.link(alert) for alert in alerts])
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .color_mode(BigValueColorMode.BACKGROUND)
        .graph_mode(BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .height(STAT_HEIGHT)
    )


def _query(query: Query, ref: str) -> Dataquery:
    made = Dataquery().datasource(DATASOURCE).expr(query.expr).ref_id(ref)
    return made.legend_format(query.legend) if query.legend else made


def _instant(query: Query, ref: str = "A") -> Dataquery:
    return _query(query, ref).instant()


def _ranged(query: Query, ref: str) -> Dataquery:
    return _query(query, ref).range().exemplar(query.exemplars)


def _refs(count: int) -> list[str]:
    return [chr(ord("A") + position) for position in range(count)]


def _thresholds(steps: Steps) -> ThresholdsConfig:
    return (
        ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=value, color=colour) for value, colour in steps])
    )


def _worded(words: Words) -> ValueMap:
    return ValueMap(
        {
            value: ValueMappingResult(text=text, color=colour, index=position)
            for position, (value, (text, colour)) in enumerate(words.items())
        }
    )


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(True)
    )


def _promised() -> list[DynamicConfigValue]:
    return [
        DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [6, 6]}),
        DynamicConfigValue("custom.fillOpacity", 0),
        DynamicConfigValue("color", {"mode": "fixed", "fixedColor": RED}),
    ]


def _coloured() -> list[DynamicConfigValue]:
    return [DynamicConfigValue("custom.cellOptions", {"type": "color-background", "mode": "basic"})]


def _organized(columns: Sequence[Column], refs: Sequence[str]) -> dict[str, object]:
    values = [f"Value #{ref}" for ref in refs]
    named = dict(zip(values[1:], (column.title for column in columns), strict=True))
    order = ["source", "verdict", *values[1:]]
    return {
        "excludeByName": {"Time": True, values[0]: True},
        "indexByName": {name: position for position, name in enumerate(order)},
        "renameByName": {"source": "Source", "verdict": "Verdict", **named},
    }
