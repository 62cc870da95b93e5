"""Keys as URIs and back: one key one URI, and no two the same."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.sources.sql.keys import BadKey, Key, KeyUris

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["", "/", "a/b", "a/", "%", "%2F", "%-", "%x00", "12", "-1", "1.5", "007", "é", "\0", "."]
)
VALUES = TEXTS | st.integers(-1000, 10**20) | st.floats(allow_nan=False) | st.binary(max_size=4)


def back(columns: list[str], key: Key, *, dynamic: bool) -> tuple[str, Key | None]:
    uris = KeyUris(columns, dynamic=dynamic)
    uri = uris.uri(key)
    return uri, uris.key(uri)


@given(
    st.lists(st.tuples(VALUES), min_size=2, max_size=2)
    | st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=2)
)
def test_keys_of_any_types_have_a_uri_each_that_leads_back(keys: list[Key]) -> None:
    columns = ["a", "b"][: len(keys[0])]
    uris = KeyUris(columns, dynamic=True)
    found = [uris.uri(key) for key in keys]
    for key, uri in zip(keys, found, strict=True):
        assert uri
        assert not uri.endswith("/")
        assert "\0" not in uri
        assert repr(uris.key(uri)) == repr(key)  # 1 and 1.0 are two
    assert (found[0] == found[1]) == (repr(keys[0]) == repr(keys[1]))


@given(st.tuples(TEXTS, TEXTS), st.tuples(TEXTS, TEXTS))
def test_texts_of_a_typed_database_likewise(one: Key, another: Key) -> None:
    uris = KeyUris(["a", "b"], dynamic=False)
    assert (uris.uri(one) == uris.uri(another)) == (one == another)
    assert uris.key(uris.uri(one)) == one


@pytest.mark.parametrize(
    ("value", "uri"),
    [
        (7, "7"),
        ("a-1", "a-1"),
        ("docs/leave.md", "docs/leave.md"),
        ("docs/", "docs%2F"),
        ("100 %", "100 %25"),
        ("Größe", "Größe"),
        ("", "%-"),
        (True, "true"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (decimal.Decimal("1.50"), "1.50"),
        (datetime.date(2026, 2, 3), "2026-02-03"),
        (datetime.datetime(2026, 2, 3, 4, 5, tzinfo=datetime.UTC), "2026-02-03T04:05:00+00:00"),
        (b"\x00\xff", "%x00ff"),
    ],
)
def test_what_a_key_of_one_column_looks_like(value: Any, uri: str) -> None:
    assert back(["id"], (value,), dynamic=False) == (uri, (value,))


def test_several_columns_are_joined_and_their_slashes_escaped() -> None:
    assert back(["shop", "path"], (3, "a/b"), dynamic=False) == ("3/a%2Fb", (3, "a/b"))


def test_where_a_column_may_hold_both_text_that_reads_as_a_number_is_told_apart() -> None:
    uris = KeyUris(["id"], dynamic=True)
    assert (uris.uri((12,)), uris.uri(("12",)), uris.uri(("012",))) == ("12", "%312", "012")


@pytest.mark.parametrize("uri", ["", "x/y", "%41", "a%2fb", "a%zz", "%x0", "%xzz"])
def test_what_no_key_looks_like_is_none(uri: str) -> None:
    uris = KeyUris(["id"], dynamic=False)
    uris.uri(("text",))
    assert uris.key(uri) is None or uri == "x/y"
    numbers = KeyUris(["id"], dynamic=False)
    numbers.uri((1,))
    assert numbers.key(uri) is None
    assert numbers.key("01") is None
    assert numbers.key("1_0") is None


def test_a_key_without_a_value_or_of_no_valid_text_says_so() -> None:
    uris = KeyUris(["shop", "id"], dynamic=False)
    with pytest.raises(BadKey, match="no value in its key column id"):
        uris.uri((1, None))
    with pytest.raises(BadKey, match="no valid text"):
        uris.uri((1, "\udcff"))
    assert not uris.known, "nothing is learned of what is no key"


def test_what_postgres_writes_as_text_is_read_as_its_driver_does() -> None:
    key = (7, datetime.datetime(2026, 2, 3, 4, 5, tzinfo=datetime.UTC), b"\x01", "a/b", True, 1.0)
    uris = KeyUris(list("abcdef"), dynamic=False)
    texts = ["7", "2026-02-03 04:05:00+00", "\\x01", "a/b", "true", "1"]
    assert uris.uri(key) == uris.uri_of_texts(texts) == "7/2026-02-03T04:05:00+00:00/%x01/a%2Fb/true/1.0"
    with pytest.raises(ValueError):
        uris.uri_of_texts(["seven", *texts[1:]])


def test_before_a_row_was_seen_values_are_taken_for_texts_and_nothing_is_learned() -> None:
    uris = KeyUris(["shop", "id"], dynamic=False)
    assert uris.uri_of_texts(["7", "00000000-0000-0000-0000-000000000001"]).startswith("7/0000")
    assert not uris.known
