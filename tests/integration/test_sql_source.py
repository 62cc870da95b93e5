"""Rows of a real PostgreSQL server as documents: what only a server can do or refuse."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from ingestion.errors import Misconfigured, SourceUnavailable
from ingestion.records import Gone, Seen
from ingestion.sources.settling import Dirty
from ingestion.sources.sql import outbox_setup
from ingestion.sources.sql.outbox import name_of
from ingestion.sources.sql.source import SqlSource
from ops.cli import headwater
from tests.rows import Shop, body, seen
from tests.servers import postgres as servers
from tests.servers.postgres import Postgres, as_text, connected
from tests.servers.process import NotInstalled, missing

TABLE = """CREATE TABLE items (id bigint PRIMARY KEY, name text, price numeric(8, 2),
    changed timestamptz NOT NULL DEFAULT clock_timestamp())"""
DEADLINE_S = 30.0


@pytest.fixture
def url(postgres: Postgres) -> Iterator[sa.URL]:
    made = postgres.empty()
    yield made
    postgres.drop(made)


@pytest.fixture
def shop(url: sa.URL) -> Iterator[Shop]:
    made = Shop(as_text(url).replace("postgresql://", "postgresql+psycopg://"))
    made.execute(TABLE)
    made.execute(
        "INSERT INTO items SELECT n, 'tea ' || n, n, now() - interval '1 day' FROM generate_series(1, 3) n"
    )
    yield made
    made.close()


def until(look: Callable[[], object], what: str) -> None:
    ends = time.monotonic() + DEADLINE_S
    while not look():
        assert time.monotonic() < ends, f"not within {DEADLINE_S:.0f} s: {what}"
        time.sleep(0.02)


def asked(source: SqlSource) -> set[str]:
    source.asking._asked_at = float("-inf")
    dirty = source.asking()
    assert isinstance(dirty, Dirty)
    return set(dirty.touched)


def install(shop: Shop, key: tuple[str, ...] = ("id",), **given: object) -> SqlSource:
    """The source, with its outbox; everything listed, and nothing left to be told."""
    source = shop.source(key=key, **given)
    url = source.table.database.url
    with source.table.database.reading() as connection:
        place = outbox_setup.find_place(connection, "shop", "items", key, str(url.username))
    outbox_setup.carry_out(url, list(outbox_setup.installing("shop", place)), "shop")
    source.list()
    assert asked(source) == {""}, "what was touched before is listed"
    assert asked(source) == set()
    return source


def rows_in_outbox(shop: Shop) -> list[tuple[str, bool]]:
    with shop.engine.connect() as connection:
        return [
            tuple(one)
            for one in connection.exec_driver_sql(f"SELECT key, deleted FROM {name_of('shop')} ORDER BY key")
        ]


def test_values_of_every_type_have_one_text_whatever_the_zone_of_the_server(shop: Shop, url: sa.URL) -> None:
    with connected(url) as connection:
        connection.execute(
            "CREATE TABLE kinds"
            " (id uuid PRIMARY KEY, at timestamptz, day date, tags text[], about jsonb, far date)"
        )
        connection.execute(
            "INSERT INTO kinds VALUES ('00000000-0000-0000-0000-00000000000a', '2026-07-01 12:00+02',"
            " '2026-07-01', '{a,b}', '{\"b\": [1, null], \"a\": \"ü\"}', 'infinity')"
        )
    shop.execute(f"ALTER DATABASE \"{url.database}\" SET timezone = 'Asia/Tokyo'")
    source = shop.source(query="SELECT * FROM kinds")
    assert list(seen(source.list())) == ["00000000-0000-0000-0000-00000000000a"]
    assert body(source, "00000000-0000-0000-0000-00000000000a").splitlines()[1:] == [
        "at: 2026-07-01 10:00:00+00:00",
        "day: 2026-07-01",
        'tags: ["a", "b"]',
        'about: {"a": "ü", "b": [1, null]}',
        "far: infinity",
    ]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT id, name, nextval('counted') FROM items",
        "SELECT id, name, set_config('transaction_read_only', 'off', false), spoil() FROM items",
        "WITH gone AS (DELETE FROM items RETURNING id) SELECT id FROM gone",
        "SELECT id FROM items) x; DELETE FROM items; SELECT * FROM (SELECT 1",
    ],
)
def test_a_query_that_would_write_is_refused(shop: Shop, query: str) -> None:
    shop.execute("CREATE SEQUENCE counted")
    shop.execute(
        "CREATE FUNCTION spoil() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM items; RETURN 1; END $$"
    )
    with pytest.raises(SourceUnavailable) as refused:
        shop.source(query=query).list()
    assert refused.value.hint
    assert len(seen(shop.source().list())) == 3


def test_two_columns_of_one_name_are_refused(shop: Shop) -> None:
    with pytest.raises(SourceUnavailable, match="two columns named name"):
        shop.source(query="SELECT id, name, price AS name FROM items").list()


def test_a_statement_that_takes_too_long_is_ended(shop: Shop) -> None:
    with pytest.raises(SourceUnavailable, match="57014") as refused:
        shop.source(query="SELECT id, pg_sleep(30)::text AS name FROM items", statement_timeout_s=0.3).list()
    assert "statement_timeout_s" in refused.value.hint


def test_a_listing_that_is_cut_off_is_none(shop: Shop, postgres: Postgres, url: sa.URL) -> None:
    shop.execute("INSERT INTO items SELECT n, repeat('tea ', 50), n FROM generate_series(10, 5000) n")
    source = shop.source()
    kept = source.table.kept.keep

    def killed(*arguments: object) -> object:
        postgres.disconnect(url)
        return kept(*arguments)  # type: ignore[arg-type]

    source.table.kept.keep = killed  # type: ignore[method-assign, assignment]
    with pytest.raises(SourceUnavailable) as refused:
        source.list()
    assert "stays searchable" in refused.value.hint
    source.table.kept.keep = kept  # type: ignore[method-assign]
    assert len(seen(source.list())) == 4994


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"password": "se/cret@1"}, "password authentication failed"),
        ({"database": "nowhere"}, "does not exist"),
        ({"port": 1}, "refused"),
        ({"host": "no-such-host.invalid"}, "no-such-host.invalid"),
        ({"query": {"sslmode": "require"}}, "SSL"),
    ],
)
def test_a_server_that_does_not_let_us_in_is_the_sources_fault(
    shop: Shop, url: sa.URL, changes: dict[str, object], said: str
) -> None:
    there = Shop(as_text(url.set(**changes)))  # type: ignore[arg-type]
    with pytest.raises(SourceUnavailable, match=said) as refused:
        there.source().list()
    told = str(refused.value)
    assert refused.value.hint
    for password in (servers.PASSWORD, "se/cret@1"):
        assert password not in told
        assert password not in there.settings().place
    there.close()


def test_a_table_that_may_not_be_read_says_what_to_grant(shop: Shop, url: sa.URL) -> None:
    shop.execute("CREATE ROLE headwater_poor LOGIN PASSWORD 'poor'")
    try:
        poor = Shop(as_text(url.set(username="headwater_poor", password="poor")))
        with pytest.raises(SourceUnavailable, match="42501") as refused:
            poor.source().list()
        assert "Grant its user SELECT" in refused.value.hint
        with pytest.raises(Misconfigured, match="refuses this") as refusal:
            place = outbox_setup.Place("public", "items", ("id",), "headwater_poor")
            outbox_setup.carry_out(
                poor.source().table.database.url, list(outbox_setup.installing("shop", place)), "shop"
            )
        assert "--print" in refusal.value.hint
        install(shop)
        shop.execute("GRANT SELECT ON items TO headwater_poor")
        source = poor.source()
        source.list()
        with pytest.raises(SourceUnavailable, match="may not take rows") as unable:
            source.asking()
        assert "GRANT SELECT, UPDATE, DELETE ON" in unable.value.hint
        poor.close()
    finally:
        shop.execute("DROP OWNED BY headwater_poor")
        shop.execute("DROP ROLE headwater_poor")


def test_what_is_committed_late_is_found_within_the_overlap(shop: Shop) -> None:
    source = shop.source(changed="changed")
    source.list()
    with shop.engine.connect() as slow:
        slow.execute(sa.text("UPDATE items SET name = 'slow', changed = clock_timestamp() WHERE id = 1"))
        shop.execute("UPDATE items SET name = 'quick', changed = clock_timestamp() WHERE id = 2")
        assert asked(source) == {"2"}
        source.looks(["2"])
        slow.commit()
    assert asked(source) == {"1"}
    assert isinstance(source.look("1"), Seen)
    assert body(source, "1").splitlines()[1] == "name: slow"


def test_times_without_a_zone_and_numbers_tell_changes_as_well(shop: Shop) -> None:
    shop.execute("ALTER TABLE items ADD COLUMN plain timestamp, ADD COLUMN version bigint")
    shop.execute("UPDATE items SET plain = '2026-01-01 12:00:00.5', version = id")
    for changed, value in (("plain", "'2026-01-01 12:00:01.5'"), ("version", "9000000000")):
        source = shop.source(name=changed, changed=changed)
        source.list()
        assert asked(source) == set()
        shop.execute(f"UPDATE items SET name = name || '!', {changed} = {value} WHERE id = 2")
        assert asked(source) == {"2"}
        assert seen(source.list()).keys() == {"1", "2", "3"}
        assert asked(source) == set()


def test_the_outbox_tells_of_each_row_that_is_touched_and_is_emptied_after_the_look(shop: Shop) -> None:
    source = install(shop)
    shop.execute("UPDATE items SET name = 'coffee' WHERE id = 1")
    shop.execute("INSERT INTO items VALUES (7, 'milk', 1)")
    shop.execute("DELETE FROM items WHERE id = 3")
    assert asked(source) == {"1", "7", "3"}
    assert asked(source) == {"1", "7", "3"}, "until it is looked at"
    looks = source.looks(["1", "7", "3"])
    gone = looks["3"]
    assert isinstance(gone, Gone)
    assert gone.definite
    assert "coffee" in body(source, "1")
    assert asked(source) == set()
    assert rows_in_outbox(shop) == []
    again = source.look("3")
    assert isinstance(again, Gone)
    assert again.definite, "that it was deleted stays known"
    shop.execute("INSERT INTO items VALUES (3, 'back', 1)")
    assert isinstance(source.look("3"), Seen)


def test_a_row_touched_again_while_it_is_looked_at_is_told_again(shop: Shop) -> None:
    source = install(shop)
    shop.execute("UPDATE items SET name = 'coffee' WHERE id = 1")
    asked(source)
    source.looks(["1"])
    shop.execute("UPDATE items SET name = 'cocoa' WHERE id = 1")
    assert asked(source) == {"1"}
    source.looks(["1"])
    assert "cocoa" in body(source, "1")


def test_a_changed_key_is_two_rows_of_the_outbox_and_a_truncation_everything(shop: Shop) -> None:
    source = install(shop)
    shop.execute("UPDATE items SET id = 11 WHERE id = 1")
    assert rows_in_outbox(shop) == [('["1"]', True), ('["11"]', False)]
    assert asked(source) == {"1", "11"}
    shop.execute("TRUNCATE items")
    assert asked(source) == {""}
    source.list()
    source.looks(["1", "11"])
    assert asked(source) == set()
    assert rows_in_outbox(shop) == []


def test_a_deletion_of_all_rows_is_definite_for_who_never_saw_one(shop: Shop) -> None:
    first = install(shop)
    first.list()
    shop.execute("DELETE FROM items")
    source = shop.source()
    assert not seen(source.list())
    source.asking()  # it has found the outbox
    assert asked(source) == {"1", "2", "3"}
    looks = source.looks(["1", "2", "3"])
    assert all(isinstance(one, Gone) and one.definite for one in looks.values())
    assert asked(source) == set()
    assert rows_in_outbox(shop) == []


def test_nobody_waits_for_who_empties_the_outbox_nor_the_other_way_round(shop: Shop) -> None:
    source = install(shop)
    shop.execute("UPDATE items SET name = name || '!'")
    asked(source)
    source.looks(["1", "2", "3"])
    with shop.engine.begin() as user:
        user.execute(sa.text("UPDATE items SET name = 'held' WHERE id = 1"))
        assert asked(source) <= {"1"}, "what is locked stays"
    assert asked(source) == {"1"}
    source.looks(["1"])
    assert asked(source) == set()
    assert rows_in_outbox(shop) == []


def test_two_who_watch_one_source_miss_nothing(shop: Shop) -> None:
    one = install(shop)
    other = shop.source()
    other.list()
    asked(other)
    shop.execute("UPDATE items SET name = 'coffee' WHERE id = 1")
    assert asked(one) == asked(other) == {"1"}
    one.looks(["1"])
    asked(one)
    assert rows_in_outbox(shop) == []
    shop.execute("UPDATE items SET name = 'cocoa' WHERE id = 1")
    other.looks(["1"])  # told of the row before
    assert asked(one) == {"1"}
    asked(other)
    assert [key for key, _ in rows_in_outbox(shop)] == ['["1"]'], "what it was told of is another row"


def test_while_nobody_reads_the_outbox_holds_a_row_for_each_key(shop: Shop) -> None:
    install(shop)
    for number in range(20):
        shop.execute("UPDATE items SET price = :price", {"price": number})
    assert len(rows_in_outbox(shop)) == 3


def test_keys_of_several_columns_and_types_are_told_as_they_are_listed(shop: Shop) -> None:
    shop.execute("DROP TABLE items")
    shop.execute(
        "CREATE TABLE items (day date, path text, at timestamptz, part numeric, raw bytea, on_ boolean,"
        " PRIMARY KEY (day, path, at, part, raw, on_))"
    )
    key = ("day", "path", "at", "part", "raw", "on_")
    shop.execute(
        "INSERT INTO items VALUES ('2026-01-02', 'a/b c', '2026-01-02 12:00:00.5+01', 1.50, '\\x00ff', true)"
    )
    source = install(shop, key=key, text="{path}")
    (uri,) = seen(source.list())
    assert uri == "2026-01-02/a%2Fb c/2026-01-02T11:00:00.500000+00:00/1.50/%x00ff/true"
    assert isinstance(source.look(uri), Seen)
    with shop.engine.begin() as user:
        user.execute(sa.text("SET timezone = 'America/New_York'"))
        user.execute(sa.text("SET datestyle = 'SQL, DMY'"))
        user.execute(sa.text("UPDATE items SET part = part"))
    assert asked(source) == {uri}


def test_only_a_table_whose_rows_the_key_tells_apart_may_have_an_outbox(shop: Shop) -> None:
    source = shop.source()
    with source.table.database.reading() as connection:
        for table, key, said in (
            ("items", ("name",), "name is not unique there"),
            ("items", ("nothing",), "no column nothing"),
            ("absent", ("id",), "no table absent"),
        ):
            with pytest.raises(Misconfigured, match=said):
                outbox_setup.find_place(connection, "shop", table, key, "x")


def test_a_word_of_the_database_wakes_the_watch_also_after_the_server_was_away(tmp_path: Path) -> None:
    try:
        with servers.own() as server:
            _woken_again(server)
    except NotInstalled as fault:
        missing(fault)


def _woken_again(server: Postgres) -> None:
    shop = Shop(as_text(server.empty()).replace("postgresql://", "postgresql+psycopg://"))
    shop.execute(TABLE)
    shop.execute("INSERT INTO items VALUES (1, 'tea', 1)")
    source = install(shop, every_s=3600.0)
    told: list[str] = []
    watch = source.watch(lambda dirty: told.extend(dirty.touched))
    watch.start()
    listens = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%'"

    def is_listening() -> bool:
        with shop.engine.connect() as connection:
            return bool(connection.exec_driver_sql(listens).scalar())

    try:
        until(is_listening, "it listens")
        shop.execute("UPDATE items SET name = 'coffee'")
        until(lambda: "1" in told, "the first word")
        source.looks(["1"])
        server.disconnect(server.url.set(database=sa.make_url(shop.url).database))
        told.clear()
        shop.execute("UPDATE items SET name = 'while it was away'")
        until(lambda: "1" in told, "what was said while nobody listened")
        assert watch.alive()
    finally:
        watch.stop()
        shop.close()


def test_the_commands_install_show_and_remove(shop: Shop, url: sa.URL, tmp_path: Path) -> None:
    config = tmp_path / "headwater.toml"
    config.write_text(
        f'[daemon]\ndata = "{tmp_path}/data"\n[[sources]]\nname = "shop"\nkind = "sql"\n'
        f'url = "{as_text(url)}"\nquery = "SELECT id, name FROM items"\nkey = ["id"]\n'
    )

    def run(*words: str) -> str:
        done = CliRunner().invoke(headwater, ["sql", *words, "--config", str(config)])
        assert done.exit_code == 0, done.output
        return done.output

    shown = run("install", "shop", "--print")
    assert "CREATE TRIGGER" in shown
    assert "no outbox" in run("uninstall", "shop")
    assert "public.items tells" in run("install", "shop")
    run("install", "shop")  # once more changes nothing
    shop.execute("UPDATE items SET name = 'coffee' WHERE id = 1")
    assert rows_in_outbox(shop) == [('["1"]', False)]
    run("uninstall", "shop")
    shop.execute("UPDATE items SET name = 'tea' WHERE id = 1")
    with shop.engine.connect() as connection:
        assert not connection.exec_driver_sql(
            "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal"
        ).scalar()
        assert not connection.exec_driver_sql(
            "SELECT count(*) FROM pg_proc WHERE proname LIKE 'headwater%%'"
        ).scalar()
    with connected(url) as dba:
        dba.execute(shown.encode())
    shop.execute("UPDATE items SET name = 'coffee' WHERE id = 2")
    assert rows_in_outbox(shop) == [('["2"]', False)]
