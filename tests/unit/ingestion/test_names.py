"""Names cut to what a ledger can keep."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingestion.ledger.names import MAX_URI_BYTES, fitting
from ingestion.records import Gone, Seen, Skipped

SEEN = Seen("a.md", "look", "identity", 5, 1.0, 2.0)


@pytest.mark.parametrize("letter", ["a", "é", "語", "🙂"])
def test_what_fits_stays_as_it_is(letter: str) -> None:
    most = replace(SEEN, uri=letter * (MAX_URI_BYTES // len(letter.encode())))
    assert fitting(most) is most
    assert isinstance(fitting(replace(most, uri=most.uri + letter)), Skipped)


@pytest.mark.parametrize("letter", ["a", "é", "語", "🙂"])
def test_a_name_cut_short_keeps_its_folder_and_is_nobody_elses(letter: str) -> None:
    folder = "/".join([letter * 60] * 40) + "/"
    ones = [fitting(replace(SEEN, uri=f"{folder}{number}.md")) for number in range(50)]
    assert len({one.uri for one in ones}) == 50
    for one in ones:
        assert isinstance(one, Skipped) and one.size_bytes == 5 and one.observed_at == 2.0
        assert len(one.uri.encode()) <= MAX_URI_BYTES
        assert folder.startswith(one.uri.rpartition("/")[0]) and one.uri.count("/") > 5


def test_what_is_gone_is_gone_under_the_same_name() -> None:
    uri = "a" * (MAX_URI_BYTES + 1)
    assert fitting(Gone(uri, "no such file", 2.0)) == Gone(
        fitting(replace(SEEN, uri=uri)).uri, "no such file", 2.0
    )
