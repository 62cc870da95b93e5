"""Rows of an SQLite file as documents."""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingestion.errors import DocumentUnreadable, SourceUnavailable
from ingestion.records import Gone, Seen, Skipped
from ingestion.sources.settling import Dirty
from ingestion.sources.sql import source as module
from ingestion.sources.sql.source import SqlSource
from tests.rig import ShiftedClock
from tests.rows import Shop, body, seen


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(f"sqlite:///{tmp_path / 'shop.db'}", clock=ShiftedClock())
    made.execute("CREATE TABLE items (id, name, price, version INTEGER)")
    made.execute(
        "INSERT INTO items VALUES (:id, :name, :price, :version)",
        *({"id": n, "name": f"tea {n}", "price": n / 4, "version": n} for n in (1, 2, 3)),
    )
    yield made
    made.close()


def asked(source: SqlSource) -> set[str]:
    source.asking._asked_at = float("-inf")
    dirty = source.asking()
    assert isinstance(dirty, Dirty)
    return set(dirty.touched)


def test_each_row_is_a_document_and_says_all_columns_or_what_a_template_says(shop: Shop) -> None:
    plain, made = shop.source(), shop.source(name="made", text="# {name}\n\n{price:.2f} €")
    assert seen(plain.list()).keys() == seen(made.list()).keys() == {"1", "2", "3"}
    assert body(plain, "2") == "id: 2\nname: tea 2\nprice: 0.5\nversion: 2"
    assert body(made, "2") == "# tea 2\n\n0.50 €"
    assert made.read("2").media_type == "text/markdown"


@pytest.mark.parametrize("changed", [None, "version"])
def test_a_listing_finds_what_changed_came_and_went(shop: Shop, changed: str | None) -> None:
    source = shop.source(changed=changed)
    before = seen(source.list())
    shop.execute("UPDATE items SET name = 'coffee', version = 4 WHERE id = 1")
    shop.execute("DELETE FROM items WHERE id = 2")
    shop.execute("INSERT INTO items VALUES (9, 'milk', 1, 5)")
    after = seen(source.list())
    assert after.keys() == {"1", "3", "9"}
    assert after["1"].fingerprint != before["1"].fingerprint
    assert after["3"].fingerprint == before["3"].fingerprint
    assert "coffee" in body(source, "1")
    gone = source.look("2")
    assert isinstance(gone, Gone)
    assert (gone.evidence, gone.definite) == ("no row has this key", False)


def test_with_a_change_column_only_what_differs_is_read_whole(shop: Shop) -> None:
    source = shop.source(
        changed="version", query="SELECT id, name || ifnull(probe(), '') AS name, version FROM items"
    )
    with pytest.raises(SourceUnavailable, match="no such function"):
        source.list()
    source = shop.source(changed="version")
    source.list()
    shop.execute("UPDATE items SET name = 'not told', price = 7 WHERE id = 1")
    shop.execute("UPDATE items SET name = 'told', version = 8 WHERE id = 2")
    source.list()
    assert ("tea 1" in body(source, "1"), "told" in body(source, "2")) == (True, True)


def test_keys_of_several_columns_are_told_apart(shop: Shop) -> None:
    shop.execute("INSERT INTO items VALUES (1, 'a/b', 0, 9), (1, 'a', 0, 9), ('1', 'a', 0, 9)")
    source = shop.source(key=("id", "name"))
    assert seen(source.list()).keys() == {"1/tea 1", "2/tea 2", "3/tea 3", "1/a%2Fb", "1/a", "%31/a"}
    looks = source.looks(["1/a%2Fb", "%31/a", "1/a/b", "1", "4/a"])
    assert [type(one) for one in looks.values()] == [Seen, Seen, Gone, Gone, Gone]


def test_another_template_makes_all_documents_anew(shop: Shop) -> None:
    shop.source(changed="version", text="{name}").list()
    source = shop.source(changed="version", text="a cup of {name}")
    source.list()
    assert body(source, "3") == "a cup of tea 3"


def test_what_changed_since_the_last_look_is_asked_for_with_an_overlap(shop: Shop) -> None:
    source = shop.source(changed="version", overlap=2)
    assert source.asking() is None, "nothing was listed"
    source.list()
    assert asked(source) == set()
    shop.execute("UPDATE items SET name = 'coffee', version = 10 WHERE id = 1")
    assert asked(source) == {"1"}
    assert asked(source) == {"1"}, "until it is looked at"
    assert isinstance(source.look("1"), Seen)
    assert asked(source) == set()
    shop.execute("UPDATE items SET name = 'late', version = 9 WHERE id = 2")
    shop.execute("UPDATE items SET name = 'too late', version = 8 WHERE id = 3")
    assert asked(source) == {"2"}


def test_changes_between_a_listing_and_the_first_question_are_told(shop: Shop) -> None:
    source = shop.source(changed="version", overlap=0)
    newest = source.asking._newest

    def between() -> object:
        latest = newest()
        shop.execute("UPDATE items SET name = 'just now', version = 50 WHERE id = 1")
        return latest

    source.asking._newest = between  # type: ignore[method-assign]
    source.list()
    source.asking._newest = newest  # type: ignore[method-assign]
    shop.execute("UPDATE items SET name = 'later', version = 51 WHERE id = 2")
    assert asked(source) == {"2"}, "the listing has read the other one"
    assert "just now" in body(source, "1")


def test_more_changes_than_can_be_hinted_at_are_listed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from ingestion.sources.sql import asking

    monkeypatch.setattr(asking, "MOST_HINTS", 2)
    source = shop.source(changed="version")
    source.list()
    shop.execute("UPDATE items SET version = version + 10")
    assert asked(source) == {""}


def test_two_rows_with_one_key_are_a_fault_of_that_key_alone(shop: Shop) -> None:
    source = shop.source(changed="version")
    before = seen(source.list())
    shop.execute("INSERT INTO items VALUES (2, 'another', 1, 9)")
    for one in (source, shop.source()):
        listing = one.list()
        assert seen(listing).keys() == {"1", "3"}
        assert list(listing.blind) == ["2"]
        assert list(listing.faults) == ["2: several rows have this key"]
        assert one.looks(["2", "1"]).keys() == {"1"}
        with pytest.raises(DocumentUnreadable, match="several rows have this key"):
            one.look("2")
    assert before["2"].fingerprint
    assert "tea 2" in body(source, "2"), "the last good revision stays"


def test_rows_without_a_key_are_told_and_the_others_go_on(shop: Shop) -> None:
    shop.execute("INSERT INTO items VALUES (NULL, 'nameless', 1, 9), (NULL, 'too', 1, 9)")
    for changed in (None, "version"):
        source = shop.source(changed=changed)
        source.list()
        listing = source.list()
        assert seen(listing).keys() == {"1", "2", "3"}
        assert list(listing.faults) == ["2 rows of no use: no value in its key column id"]
        assert not listing.blind


def test_numbers_and_texts_in_one_column_are_two_documents(shop: Shop) -> None:
    shop.execute("INSERT INTO items VALUES ('1', 'text', 1, 9)")
    source = shop.source()
    assert seen(source.list()).keys() == {"1", "2", "3", "%31"}
    assert "text" in body(source, "%31")
    assert isinstance(source.look("%31"), Seen)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (b"\xff\xfe", "its name is no UTF-8"),
        (sqlite3.Binary(b"caf\xe9"), "its name is no UTF-8"),
    ],
)
def test_a_value_that_is_no_text_leaves_the_last_revision_and_the_others(
    shop: Shop, value: Any, fault: str
) -> None:
    source = shop.source(changed="version")
    source.list()
    shop.execute("UPDATE items SET name = :name, version = 9 WHERE id = 2", {"name": value})
    listing = source.list()
    assert (set(seen(listing)), list(listing.blind)) == ({"1", "3"}, ["2"])
    assert list(listing.faults) == [f"2: {fault}"]
    assert "tea 2" in body(source, "2")


def test_text_with_bytes_that_are_none_does_not_end_the_reading(shop: Shop) -> None:
    shop.execute("UPDATE items SET name = CAST(x'636166e9' AS TEXT) WHERE id = 2")
    listing = shop.source().list()
    assert seen(listing).keys() == {"1", "3"}
    assert list(listing.faults) == ["2: one of its values is no valid text"]


def test_so_many_faults_that_nothing_may_be_called_absent(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_FAULTS", 1)
    shop.execute("UPDATE items SET name = x'ff' WHERE id > 1")
    listing = shop.source().list()
    assert (set(seen(listing)), list(listing.blind)) == ({"1"}, [""])
    assert len(listing.faults) == 2


def test_what_is_too_large_is_skipped(shop: Shop) -> None:
    shop.execute("UPDATE items SET name = :name WHERE id = 2", {"name": "x" * 500})
    source = shop.source(max_document_bytes=100)
    found = {one.uri: one for one in source.list().sightings}
    assert isinstance(found["2"], Skipped)
    assert "max_document_bytes" in found["2"].reason


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"key": ("ident",)}, "returns no column ident, which key names; it has: id, name"),
        ({"changed": "stamp"}, "returns no column stamp, which changed names"),
        ({"text": "{title}"}, "returns no column title, which text names"),
        ({"query": "SELECT id FROM item"}, "no such table: item"),
        ({"query": "SELECT id FROM"}, "syntax error|incomplete input"),
        ({"query": "SELECT id FROM items; DELETE FROM items"}, "syntax error|one statement"),
        ({"query": "WITH d AS (SELECT 1) DELETE FROM items RETURNING id"}, "syntax error"),
    ],
)
def test_a_query_that_does_not_fit_is_the_sources_fault(shop: Shop, given: dict[str, Any], said: str) -> None:
    with pytest.raises(SourceUnavailable, match=said) as refused:
        shop.source(**given).list()
    assert refused.value.hint
    assert "stays searchable" in refused.value.hint
    assert len(seen(shop.source().list())) == 3, "nothing was written"


def test_the_file_is_opened_to_be_read_alone(shop: Shop) -> None:
    source = shop.source()
    with pytest.raises(SourceUnavailable, match="would write"), source.table.database.reading() as connection:
        connection.exec_driver_sql("DELETE FROM items")
    assert len(seen(source.list())) == 3


def test_a_file_that_is_not_there_is_not_made(shop: Shop, tmp_path: Path) -> None:
    source = Shop(f"sqlite:///{tmp_path / 'absent.db'}").source()
    assert not source.root().present
    with pytest.raises(SourceUnavailable, match="CANTOPEN"):
        source.list()
    assert not (tmp_path / "absent.db").exists()


def test_a_query_that_takes_too_long_is_ended(shop: Shop) -> None:
    endless = "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT max(id) AS id FROM n"
    with pytest.raises(SourceUnavailable, match="took too long") as refused:
        shop.source(query=endless, statement_timeout_s=0.2).list()
    assert "statement_timeout_s" in refused.value.hint


def test_signs_of_sqlalchemy_and_comments_mean_nothing_in_a_query(shop: Shop) -> None:
    query = "SELECT id, name, ':x %s %(a)s' AS sign, '10:30' AS at FROM items WHERE 7 % 4 = 3 -- all"
    source = shop.source(query=query, text="{sign} {at}")
    assert seen(source.list()).keys() == {"1", "2", "3"}
    assert body(source, "1") == ":x %s %(a)s 10:30"


def test_a_change_is_as_old_as_its_row_says_where_that_is_plausible(shop: Shop) -> None:
    shop.execute("ALTER TABLE items ADD COLUMN stamp TEXT")
    source = shop.source(changed="stamp")
    began = shop.clock.now()
    lately = datetime.datetime.fromtimestamp(began - 30.0, datetime.UTC).replace(tzinfo=None, microsecond=5)
    for key, stamp in ((1, lately.isoformat(" ")), (2, "9999-01-01 00:00:00"), (3, "2020-01-01 00:00:00")):
        shop.execute("UPDATE items SET stamp = :stamp WHERE id = :id", {"stamp": stamp, "id": key})
    found = {uri: one.changed_at for uri, one in seen(source.list()).items()}
    assert found["1"] == lately.replace(tzinfo=datetime.UTC).timestamp()
    for uri in ("2", "3"):
        at = found[uri]
        assert at is not None
        assert began <= at <= shop.clock.now()


def test_the_doctor_says_what_the_query_returns_or_what_is_wrong(shop: Shop) -> None:
    (fine,) = shop.settings().examined()
    assert fine.what.endswith("answers; its columns: id, name, price, version")
    (broken,) = shop.settings(query="SELECT * FROM absent").examined()
    assert "no such table" in broken.what
    assert broken.remedy
