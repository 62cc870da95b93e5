"""The runbook as a dashboard, so that a panel leads to what to do about it wherever Grafana runs.

Reads ``ops/runbook.md``; each of its sections is a panel of its own, which a link shows alone.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard, DashboardLink
from grafana_foundation_sdk.builders.text import Panel as Text
from grafana_foundation_sdk.models.dashboard import DashboardLinkType
from grafana_foundation_sdk.models.text import TextMode

UID = "headwater-runbook"
_FILE = Path(__file__).parents[1] / "runbook.md"
_INTRODUCTION = "Runbook"
_WIDTH = 24
_ROW_PX = 38  # of Grafana's grid
_LINE_PX = 24
_FRAME_PX = 60


def link(alert: str) -> DashboardLink:
    """To the section of this alert. Raises KeyError where the runbook has none."""
    return (
        DashboardLink(f"Runbook: {alert}")
        .type(DashboardLinkType.LINK)
        .url(_url(list(_sections()).index(_known(alert))))
        .target_blank(True)
    )


def runbook() -> Dashboard:
    board = (
        Dashboard("Headwater: Runbook")
        .uid(UID)
        .description("What each alert means, what to look at first, and what to do.")
        .tags(["headwater"])
        .readonly()
        .time("now-1h", "now")
    )
    for number, (title, text) in enumerate(_sections().items()):
        board.with_panel(
            Text()
            .id(number + 1)
            .title(title)
            .mode(TextMode.MARKDOWN)
            .content(_linked(text))
            .height(_height(text))
            .span(_WIDTH)
        )
    return board


@cache
def _sections() -> dict[str, str]:
    """Texts by their titles, in the order of the page; what comes before the first under its own name."""
    text = _FILE.read_text(encoding="utf-8")
    begins = [found.start() for found in re.finditer("^## ", text, re.MULTILINE)]
    found = {_INTRODUCTION: text[: begins[0]].split("\n", 1)[1].strip()}
    for begin, end in pairwise([*begins, len(text)]):
        title, body = text[begin:end].removeprefix("## ").split("\n", 1)
        found[title] = body.strip()
    return found


def _known(alert: str) -> str:
    if alert not in _sections():
        raise KeyError(f"ops/runbook.md has no section {alert}")
    return alert


def _url(position: int) -> str:
    return f"/d/{UID}?viewPanel={position + 1}"


def _linked(text: str) -> str:
    """Links within the page lead to its panels; those to other files cannot be followed from here."""
    titles = {title.lower(): position for position, title in enumerate(_sections())}
    text = re.sub(r"\[([^]]+)\]\(#(\w+)\)", lambda found: f"[{found[1]}]({_url(titles[found[2]])})", text)
    return re.sub(r"\[([^]]+)\]\((?!/|https?:)([^)#]+)[^)]*\)", r"\1 (ops/\2)", text)


def _height(text: str) -> int:
    return (_FRAME_PX + _LINE_PX * len(text.splitlines())) // _ROW_PX + 1
