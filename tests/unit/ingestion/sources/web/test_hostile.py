"""A part of the hostile web pages; the bench looks at all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingestion.sources.web import addresses
from tests import hostile_web

ONE_OF = 13  # a prime: some of every form, way and address


@pytest.mark.timeout(120)
def test_no_page_leads_inside_and_each_has_a_state(tmp_path: Path) -> None:
    result = hostile_web.look_at_all(tmp_path, lambda number: number % ONE_OF == 0)
    assert result.inputs > 150
    assert result.touched == 0
    assert result.strayed == frozenset()
    assert result.nameless == []
    assert result.states["live"] > 0, "the others were looked at"


def test_the_tripwires_trip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were every address open, they would be reached: or the test above could not fail."""
    monkeypatch.setattr(addresses, "is_open", lambda address: address.startswith("127."))
    result = hostile_web.look_at_all(tmp_path, lambda number: number % (9 * ONE_OF) == 0, answers=())
    assert result.touched > 0
    assert result.strayed
