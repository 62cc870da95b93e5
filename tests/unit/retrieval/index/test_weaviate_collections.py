from __future__ import annotations

import itertools

from retrieval.index.weaviate_collections import (
    collection_name,
    collection_schema,
    differences,
    recorded_dimensions,
    recorded_ledger,
)
from retrieval.index.words import QueryReader


def test_no_two_editions_share_a_name() -> None:
    """However underscores and hyphens meet; and none differs from another by case alone."""
    slugs = ["a" + "".join(rest) for n in range(5) for rest in itertools.product("am_-", repeat=n)]
    names = [collection_name("Headwater", slug) for slug in slugs]
    assert None not in names
    assert len({str(name).lower() for name in names}) == len(slugs)


def test_what_is_no_edition_has_no_name() -> None:
    assert [collection_name("A", slug) for slug in ("", "never made", "É", "-a", "A")] == [None] * 5


def test_a_collection_does_not_differ_from_itself() -> None:
    """The server's own additions, and its order of properties, are no difference."""
    wanted = collection_schema("A_e", "e", 8)
    found = wanted | {"shardingConfig": {}, "properties": [*reversed(wanted["properties"])]}
    assert differences(wanted, found) == []
    assert recorded_dimensions(found) == 8


def test_what_is_recorded_is_read_and_nothing_else() -> None:
    wanted = collection_schema("A_e", "e", 8, "one")
    assert (recorded_dimensions(wanted), recorded_ledger(wanted)) == (8, "one")
    assert recorded_ledger(collection_schema("A_e", "e", 8)) is None
    for description in ("", "mine", "[]", '{"headwater": 1}', '{"headwater": {"ledger": 1}}', None):
        found = wanted | {"description": description}
        assert (recorded_dimensions(found), recorded_ledger(found)) == (None, None)


def test_differences_name_the_place_and_both_values() -> None:
    wanted = collection_schema("A_e", "e", 8)
    found = wanted | {"invertedIndexConfig": {"bm25": {"k1": 1.5, "b": 0.1}, "stopwords": {"preset": "none"}}}
    assert differences(wanted, found) == ["invertedIndexConfig.bm25.b is 0.1 instead of 0.6"]


def test_stems_are_those_of_questions_and_count_the_heading_twice() -> None:
    reader = QueryReader()
    first, empty = reader.stems([("Sleeping", "Quokkas sleep; quokkas\x00EAT"), ("", "?!")])
    assert sorted(first.split()) == ["eat", "quokka", "quokka", "sleep", "sleep", "sleep"]
    assert empty == ""
    assert reader.question("sleeps, Quokka quokkas") == "sleep quokka"
    assert len(reader.question("a" * 5_000)) == len(reader.stems([("", "a" * 5_000)])[0]) == 200
    reader.close()
