"""The ledger's database on a real PostgreSQL server: what differs from a file, and what goes wrong there."""

from __future__ import annotations

import contextlib
import datetime
import multiprocessing
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.errors import (
    DataCorrupt,
    DataNewer,
    HeadwaterError,
    LedgerRejected,
    LedgerUnavailable,
    Misconfigured,
)
from ingestion.ledger import schema
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.tables import metadata, tokens
from ingestion.records import Lane
from ops.exporter import Metrics
from tests.contract.desk import SOURCE, Desk
from tests.rig import ShiftedClock
from tests.servers.postgres import Postgres, as_text, connected
from tests.servers.process import free_port

Answer = TypeVar("Answer")


@pytest.fixture
def url(postgres: Postgres) -> Iterator[sa.URL]:
    made = postgres.fresh()
    yield made
    postgres.drop(made)


@pytest.fixture
def database(url: sa.URL) -> Iterator[Database]:
    made = Database(url)
    yield made
    made.close()


@pytest.fixture
def empty(postgres: Postgres) -> Iterator[Database]:
    made = Database(postgres.empty())
    yield made
    made.close()
    postgres.drop(made.url)


def fault(database: Database) -> HeadwaterError:
    """What opening a ledger there says; never with the password."""
    with pytest.raises(HeadwaterError) as raised:
        Ledger(database, SystemClock())
    database.close()
    chain: BaseException | None = raised.value
    while chain is not None:
        assert str(database.url.password) not in f"{chain!r} {chain}"
        chain = chain.__cause__
    return raised.value


# The schema ----------------------------------------------------------------------------------------------


def test_the_migrations_make_the_tables(empty: Database) -> None:
    schema.ensure(empty)
    with empty.read() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []


def shape(database: Database) -> list[tuple[object, ...]]:
    """Columns with types, defaults and collations; indexes and constraints as the server writes them."""
    with database.read() as connection:
        return [
            tuple(row)
            for query in (
                "SELECT table_name, column_name, data_type, is_nullable, column_default, collation_name "
                "FROM information_schema.columns WHERE table_schema = 'public'",
                "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
                "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
                "WHERE connamespace = 'public'::regnamespace",
                "SELECT sequence_name, data_type FROM information_schema.sequences "
                "WHERE sequence_schema = 'public'",
            )
            for row in connection.exec_driver_sql(query)
            if "alembic_version" not in str(row)
        ]


def test_the_migrations_make_just_what_the_tables_say(empty: Database, postgres: Postgres) -> None:
    """Alembic compares neither the conditions of indexes, nor collations, nor sequences."""
    schema.ensure(empty)
    said = Database(postgres.empty())
    with said.write() as connection:
        metadata.create_all(connection)
    assert sorted(map(str, shape(empty))) == sorted(map(str, shape(said)))
    assert any(tokens.name in str(row) for row in shape(empty))
    said.close()
    postgres.drop(said.url)


def _open(url: str, start: Barrier) -> None:
    start.wait(timeout=100)
    database = Database(url)
    Ledger(database, SystemClock()).sources.begin_listing()
    database.close()


@pytest.mark.timeout(300)
def test_ten_processes_that_open_an_empty_database_at_once_all_succeed(empty: Database) -> None:
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(10)
    processes = [spawn.Process(target=_open, args=(as_text(empty.url), start)) for _ in range(10)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 10
    assert Ledger(empty, SystemClock()).fence.generation() == 10


def test_a_migration_that_fails_leaves_nothing(empty: Database) -> None:
    with connected(empty.url) as connection:  # the last table but one cannot be made
        connection.execute("CREATE TYPE publications AS ENUM ('in the way')")
    with pytest.raises(sa.exc.ProgrammingError):
        schema.ensure(empty)
    assert schema.current_revision(empty) is None
    assert shape(empty) == []
    with connected(empty.url) as connection:
        connection.execute("DROP TYPE publications")
    schema.ensure(empty)
    assert schema.current_revision(empty) == schema.known_revisions()[-1]


def test_a_database_of_a_newer_version_is_refused(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    before = shape(database)
    with pytest.raises(DataNewer, match=r"9999.*Nothing was changed.*another database in ledger\.url"):
        Ledger(database, SystemClock())
    assert shape(database) == before


def test_a_database_of_something_else_is_left_alone(empty: Database) -> None:
    with connected(empty.url) as connection:
        connection.execute("CREATE TABLE photos (name text)")
    assert isinstance(fault(empty), DataCorrupt)


# Faults ----------------------------------------------------------------------------------------------------


def test_a_wrong_password_is_refused_at_the_start(url: sa.URL, postgres: Postgres) -> None:
    if postgres.server is None:
        pytest.skip("the server is somebody else's, and may ask for no password")
    said = fault(Database(url.set(password="wrong")))
    assert isinstance(said, Misconfigured)
    assert "refuses the user or the password" in str(said) and "ledger.password_file" in said.hint
    assert "wrong" not in str(said)


def test_no_password(url: sa.URL, postgres: Postgres) -> None:
    if postgres.server is None:
        pytest.skip("the server is somebody else's, and may ask for no password")
    without = sa.URL.create("postgresql", url.username, None, url.host, url.port, url.database)
    said = fault(Database(without))
    assert isinstance(said, Misconfigured) and "refuses the user or the password" in str(said)


@pytest.fixture
def role(postgres: Postgres, url: sa.URL) -> Iterator[str]:
    """A user that owns the database and is no administrator."""
    if postgres.server is None:
        pytest.skip("the server is somebody else's, and may ask for no password")
    name = "headwater_test_role"
    postgres.execute(f"DROP ROLE IF EXISTS {name}")
    postgres.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'first'")
    postgres.execute(f'GRANT {name} TO "{postgres.url.username}"')
    postgres.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}", url.database)
    postgres.execute(f"GRANT ALL ON SCHEMA tested TO {name}", url.database)
    postgres.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA tested TO {name}", url.database)
    yield name
    postgres.disconnect(url)
    postgres.execute(f"DROP OWNED BY {name}", url.database)
    postgres.execute(f"DROP ROLE {name}")


def failed_logins(postgres: Postgres, role: str) -> int:
    assert postgres.server is not None
    return postgres.server._log.read_text().count(f'authentication failed for user "{role}"')


def test_a_password_that_is_changed_meanwhile_is_waited_for(
    url: sa.URL, postgres: Postgres, role: str
) -> None:
    database = Database(url.set(username=role, password="first"))
    ledger = Ledger(database, SystemClock())
    postgres.execute(f"ALTER ROLE {role} PASSWORD 'second'")
    postgres.disconnect(url)
    before = failed_logins(postgres, role)
    with pytest.raises(LedgerUnavailable, match="no longer lets this process in"):
        ledger.now()
    assert failed_logins(postgres, role) - before == 1  # nothing is tried beside it
    postgres.execute(f"ALTER ROLE {role} PASSWORD 'first'")
    assert ledger.now() > 0
    database.close()


def test_a_server_that_takes_no_more_connections_is_waited_for(
    url: sa.URL, postgres: Postgres, role: str
) -> None:
    """It says so after it has asked for the password."""
    postgres.execute(f"ALTER ROLE {role} CONNECTION LIMIT 0")
    said = fault(Database(url.set(username=role, password="first")))
    assert isinstance(said, LedgerUnavailable) and "takes no connection" in str(said)
    said = fault(Database(url.set(username=role, password="wrong")))
    assert isinstance(said, Misconfigured)


def test_no_such_database(url: sa.URL) -> None:
    said = fault(Database(url.set(database="nowhere")))
    assert "no such database as the PostgreSQL database nowhere" in str(said) and "createdb" in said.hint


def test_no_server(url: sa.URL) -> None:
    port = free_port()
    said = fault(Database(url.set(port=port)))
    assert isinstance(said, LedgerUnavailable)
    assert f"127.0.0.1:{port}" in str(said) and "Is it running" in said.hint


def test_something_that_is_no_postgresql_server(url: sa.URL) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=lambda: listening.accept()[0].close())
        thread.start()
        said = fault(Database(url.set(port=listening.getsockname()[1])))
        thread.join()
    assert isinstance(said, LedgerUnavailable)


def test_a_database_in_another_encoding(postgres: Postgres) -> None:
    url = postgres.empty("ENCODING 'SQL_ASCII' LOCALE_PROVIDER 'libc' LOCALE 'C' TEMPLATE template0")
    said = fault(Database(url))
    assert isinstance(said, Misconfigured) and "UTF8" in str(said)
    postgres.drop(url)


def test_a_server_that_is_too_old(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestion.postgres.OLDEST", 1000)
    said = fault(database)
    assert isinstance(said, Misconfigured) and "needs PostgreSQL 1000 or newer" in str(said)


@pytest.mark.parametrize(
    ("state", "kind", "says"),
    [
        ("53100", LedgerUnavailable, "disk of the server .* is full; nothing was written"),
        ("53300", LedgerUnavailable, "no connection left.*max_connections"),
        ("40P01", LedgerUnavailable, "undone.*tried again"),
        ("40001", LedgerUnavailable, "undone.*tried again"),
        ("42501", Misconfigured, "may not read or write.*OWNER TO"),
        ("57014", LedgerUnavailable, "the limit is 60 s"),
        ("XX001", LedgerUnavailable, "damage"),
        ("22003", LedgerRejected, "refuses to keep this.*22003"),
        ("54000", LedgerRejected, "refuses to keep this.*54000"),
        ("0A000", None, ""),
        ("23505", None, ""),
    ],
)
def test_faults_of_the_server_are_known_by_their_code(
    database: Database, state: str, kind: type[HeadwaterError] | None, says: str
) -> None:
    """The server itself raises them here, as it would for a reason of its own."""
    expected = sa.exc.DBAPIError if kind is None else kind
    with pytest.raises(expected, match=f"(?s){says}"), database.write() as connection:
        raising = f"RAISE EXCEPTION 'as told' USING ERRCODE = '{state}'"
        connection.exec_driver_sql(f"DO $$ BEGIN {raising}; END $$")


def test_a_reader_cannot_write(database: Database) -> None:
    with (
        pytest.raises(LedgerUnavailable, match="allows nothing to be written"),
        database.read() as connection,
    ):
        connection.exec_driver_sql("UPDATE counters SET value = 0")


def test_connections_that_many_readers_needed_at_once_are_kept(database: Database) -> None:
    """Else each of as many searches at once would open and close one for each of its looks."""
    readers = 12

    def together() -> set[int]:
        all_read = threading.Barrier(readers)

        def read(_: int) -> int:
            return database.look(ask)

        def ask(connection: sa.Connection) -> int:
            all_read.wait(30)
            return int(connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one())

        with ThreadPoolExecutor(readers) as pool:
            return set(pool.map(read, range(readers)))

    first = together()
    assert len(first) == readers
    assert together() == first


def test_a_look_has_no_transaction_around_it(database: Database) -> None:
    def began(connection: sa.Connection) -> list[datetime.datetime]:
        return [connection.execute(sa.select(sa.func.now())).scalar_one() for _ in range(2)]

    first, second = database.look(began)
    assert first < second
    with database.read() as connection:
        first, second = began(connection)
    assert first == second
    with pytest.raises(LedgerUnavailable):
        database.look(lambda connection: connection.exec_driver_sql("CREATE TABLE x (y int)"))


def test_a_look_asks_again_where_its_connection_was_ended(postgres: Postgres, database: Database) -> None:
    def asked(connection: sa.Connection) -> int:
        return int(connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one())

    before = database.look(asked)
    postgres.execute(f"SELECT pg_terminate_backend({before})")
    assert database.look(asked) != before


def test_a_user_without_rights(postgres: Postgres, empty: Database) -> None:
    postgres.execute("DROP ROLE IF EXISTS headwater_test_guest")
    postgres.execute(f"CREATE ROLE headwater_test_guest LOGIN PASSWORD '{empty.url.password}'")
    guest = Database(empty.url.set(username="headwater_test_guest"))
    assert isinstance(fault(guest), Misconfigured)
    postgres.execute("DROP ROLE headwater_test_guest")


def test_no_password_is_shown(postgres: Postgres) -> None:
    database = Database(as_text(postgres.url))
    assert str(postgres.url.password) not in f"{database!r} {database.description} {database.url!r}"
    assert database.description.endswith(f"at {postgres.url.host}:{postgres.url.port}")


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_spelling_of_an_address_is_understood(postgres: Postgres, scheme: str) -> None:
    database = Database(as_text(postgres.url).replace("postgresql", scheme, 1))
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT current_setting('transaction_read_only')").scalar() == "on"
    database.close()


@pytest.mark.parametrize(
    "text", ["mysql://user:secret@host/name", "not a url:secret", "postgresql://u:secret@h:x/"]
)
def test_an_address_that_is_none(text: str) -> None:
    with pytest.raises(Misconfigured, match=r"ledger\.url") as raised:
        Database(text)
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None and raised.value.__context__ is None


def test_sqlite_does_not_import_the_driver() -> None:
    program = (
        "import sys; from ingestion.clock import SystemClock; from ingestion.database import Database; "
        "from ingestion.ledger.ledger import Ledger; Ledger(Database.in_memory(), SystemClock()); "
        "sys.exit('psycopg' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# Lost connections ------------------------------------------------------------------------------------------


def test_connections_that_were_ended_between_calls_go_unnoticed(
    database: Database, postgres: Postgres
) -> None:
    desk = Desk(database)
    for uri in ("a.md", "b.md"):
        postgres.disconnect(database.url)
        desk.live(uri)
    assert desk.served() == ["one", "one"]


def test_a_connection_that_is_ended_within_a_transaction(database: Database, postgres: Postgres) -> None:
    desk = Desk(database)
    before = desk.fence.generation()
    with pytest.raises(LedgerUnavailable, match="ended the connection"), database.write() as connection:
        connection.exec_driver_sql("UPDATE counters SET value = value + 1")
        postgres.disconnect(database.url)
        connection.exec_driver_sql("UPDATE counters SET value = value + 1")
    assert desk.fence.generation() == before
    desk.live("a.md")


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_server_that_is_restarted(database: Database, postgres: Postgres, end: str) -> None:
    if postgres.server is None:
        pytest.skip("the server is somebody else's")
    desk = Desk(database)
    desk.live("a.md")
    getattr(postgres.server, end)()
    try:
        with pytest.raises(LedgerUnavailable):
            desk.want("b.md")
        with pytest.raises(LedgerUnavailable):
            desk.served()
    finally:
        postgres.server.start()
    assert desk.served() == ["one"]
    desk.live("b.md")


@pytest.mark.timeout(240)
def test_work_goes_on_while_connections_are_dropped(database: Database, postgres: Postgres) -> None:
    """Each call works or raises LedgerUnavailable; what it did is whole or not there."""
    desk = Desk(database)
    stop = threading.Event()

    def disconnect() -> None:
        while not stop.wait(0.05):
            postgres.disconnect(database.url)

    dropping = threading.Thread(target=disconnect)
    dropping.start()
    refused = done = 0
    try:
        while refused < 10 or done < 30:
            try:
                (document_id,) = desk.want(f"{done % 5}.md")
                for claim in desk.claims.claim(desk.edition, [document_id]):
                    desk.publish(claim, [f"revision {claim.wanted}"])
                done += 1
            except LedgerUnavailable:
                refused += 1
                with contextlib.suppress(LedgerUnavailable):  # as when a worker is found dead
                    desk.claims.reap(all_leases=True)
    finally:
        stop.set()
        dropping.join()
    desk.claims.reap(all_leases=True)
    for view in desk.views.documents(state="pending"):
        desk.clock.at += 1000.0
        desk.publish(desk.claim(view.document_id), [f"revision {view.wanted}"])
    wanted = {view.uri: view.wanted for view in desk.views.documents()}
    assert desk.served() == [f"revision {wanted[uri]}" for uri in sorted(wanted)]
    assert {view.generation for view in desk.views.documents()} == set(wanted.values())


# Turns and claims -------------------------------------------------------------------------------------------


def test_a_claim_waits_for_no_writer(database: Database) -> None:
    """Neither for one that holds the turn, nor for a row it has changed: that one is passed over."""
    desk = Desk(database)
    held, free = desk.want("held.md", "free.md")
    with database.write() as connection:
        connection.execute(
            sa.text("UPDATE publications SET lane = lane WHERE document_id = :id"), {"id": held}
        )
        claims = in_thread(lambda: desk.claims.claim(desk.edition, [held, free]))
        assert [claim.document_id for claim in claims] == [free]
        assert in_thread(desk.due) == []
    assert [claim.document_id for claim in desk.claims.claim(desk.edition, [held])] == [held]


def test_a_publish_waits_for_a_claim_that_takes_its_document(database: Database) -> None:
    """The lease ran out, and another claims while the first publishes: one of them is superseded."""
    desk = Desk(database)
    (document_id,) = desk.want("a.md")
    first = desk.claim(document_id)
    placed = desk.stage(first, ["one"])
    desk.claims.reap(all_leases=True)
    published = []
    with database.taking() as connection:
        query = "SELECT 1 FROM publications WHERE document_id = :id FOR NO KEY UPDATE"
        connection.execute(sa.text(query), {"id": document_id})
        late = threading.Thread(
            target=lambda: published.extend(desk.publications.publish([desk.publishing(first, placed)]))
        )
        late.start()
        late.join(0.3)
        assert late.is_alive()
        connection.execute(
            sa.text(
                "UPDATE publications SET token = nextval('tokens'), lease_until = 2e9 WHERE document_id = :id"
            ),
            {"id": document_id},
        )
    late.join()
    assert [one.superseded for one in published] == [True]
    assert desk.served() == []


def test_a_silent_writer_loses_its_turn(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestion.postgres.SILENT_WRITER_S", 1)
    silent = Database(database.url)
    desk = Desk(database)
    with pytest.raises(LedgerUnavailable, match="silent"), silent.write() as connection:
        connection.exec_driver_sql("UPDATE counters SET value = value + 1000")
        desk.live("a.md")  # waits until the server ends that transaction
        connection.exec_driver_sql("SELECT 1")
    assert desk.fence.generation() < 1000
    silent.close()


@pytest.mark.parametrize("shift_s", [-3600.0, 3600.0])
def test_a_worker_whose_clock_is_wrong_neither_loses_nor_steals(database: Database, shift_s: float) -> None:
    right = Ledger(database, SystemClock())
    wrong_clock = ShiftedClock()
    wrong_clock.shift_s = shift_s
    wrong = Ledger(database, wrong_clock)
    desk = Desk(database)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE tested.clock SET fixed = NULL")
    (first, second, third) = desk.want("a.md", "b.md", "c.md")
    for ledger, other, document_id in ((right, wrong, first), (wrong, right, second)):
        (claim,) = ledger.claims.claim(desk.edition, [document_id])
        assert other.claims.reap() == 0
        assert other.claims.claim(desk.edition, [document_id]) == []
        assert not ledger.publications.publish([desk.publishing(claim, desk.stage(claim, ["one"]))])[
            0
        ].superseded
    (claim,) = wrong.claims.claim(desk.edition, [third])
    wrong.claims.release([claim], "away", delay_s=60.0)
    assert right.claims.claim(desk.edition, [third]) == []
    (claim,) = wrong.claims.claim(desk.edition, desk.want("c.md"))
    wrong.claims.release([claim], "away", delay_s=0.0)
    assert len(right.claims.claim(desk.edition, [third])) == 1
    desk.retire(first)
    assert wrong.publications.sweepable(wrong.now() - 60.0) == {}


def in_thread(call: Callable[[], Answer]) -> Answer:
    """The answer of a call in another thread, which must not have to wait."""
    found: list[Answer] = []
    thread = threading.Thread(target=lambda: found.append(call()), daemon=True)
    thread.start()
    thread.join(10.0)
    assert found, "it waits"
    return found[0]


# Text and order ---------------------------------------------------------------------------------------------


def test_names_are_in_the_order_of_bytes(database: Database) -> None:
    """The server's own language would put them in another order, and a prefix would find the wrong ones."""
    desk = Desk(database)
    names = ["B/x.md", "a/É.md", "a/z.md", "a b/x.md", "A/x.md", "é.md", "a/x.md"]
    for name in names:
        desk.want(name, lane=Lane.BULK)
    assert [entry.uri for entry in desk.documents.below(SOURCE, "a/")] == sorted(
        [entry.uri for entry in desk.documents.below(SOURCE, "a/")], key=lambda uri: names.index(uri)
    )
    assert {entry.uri for entry in desk.documents.below(SOURCE, "a/")} == {"a/É.md", "a/z.md", "a/x.md"}
    for document_id in [view.document_id for view in desk.views.documents()]:
        desk.publish(desk.claim(document_id))
    assert [row.uri for row in desk.views.export()] == sorted(names, key=lambda name: name.encode())


# Plans ------------------------------------------------------------------------------------------------------

_MANY = """
INSERT INTO documents (source, uri, fingerprint, identity, size_bytes, racy, standing, reason, wanted,
    observed, pending_since, changed_at, observed_at)
SELECT 'notes', (i % 100) || '/' || i || '.md', 'look', 'id' || i, 10, false, 'present', '', i, i,
    CASE WHEN i % 50 = 0 THEN 1 END, 1, 1 FROM generate_series(1, 20000) AS i;
INSERT INTO publications (document_id, edition_id, state, lane, live_generation, digest, pipeline, sent_at)
SELECT id, 1, CASE WHEN id % 50 = 0 THEN 'pending' ELSE 'live' END,
    CASE WHEN id % 500 = 0 THEN 'fresh' ELSE 'bulk' END, id, 'digest', 'parser', id % 3 FROM documents;
INSERT INTO chunks (id, document_id, edition_id, digest, ordinal, start, "end", heading_path, born)
SELECT 'chunk ' || id, id, 1, 'digest', 0, 0, 9, '[]', 1 FROM documents;
"""


def test_what_is_asked_all_the_time_reads_no_table_through(database: Database) -> None:
    desk = Desk(database)
    with connected(database.url) as connection:
        connection.execute(_MANY)
        connection.execute("ANALYZE")
    plans: list[str] = []

    def explain(_c: object, cursor: Any, statement: str, values: Any, _x: object, many: bool) -> None:
        if statement.startswith(
            ("SELECT documents", "SELECT publications", "SELECT chunks", "UPDATE", "SELECT s")
        ):
            found = cursor.connection.execute(f"EXPLAIN {statement}", values[0] if many else values)
            plans.append("\n".join([statement, *(row[0] for row in found)]))

    for engine in (database._reader, database._writer):
        sa.event.listen(engine, "before_cursor_execute", explain)
    assert len(desk.claims.claim(desk.edition, [500, 1000, 1500])) == 3
    assert desk.due(Lane.FRESH, limit=10) and desk.due(Lane.BULK, limit=10)
    desk.claims.on_their_way(desk.edition, Lane.BULK, resend_s=30.0)
    desk.edit(1)
    desk.clock.at += 1000.0
    assert desk.claims.reap() == 4
    desk.publish(desk.claim(500))
    assert len(desk.fence.admit([f"chunk {number}" for number in range(1, 30)], desk.fence.horizon())) == 29
    assert desk.views.oldest_pending()
    desk.views.unfinished(SOURCE, 10)
    desk.documents.find(SOURCE, ["1/1.md"])
    desk.documents.with_identity(SOURCE, ["id7"])
    desk.publications.sweepable(desk.clock.at)
    assert len(plans) > 20
    through = [
        plan for plan in plans if re.search("Seq Scan on (documents|publications|chunks|attempts)", plan)
    ]
    assert "\n\n".join(through) == ""


class Ahead(SystemClock):
    """A machine whose clock is a minute and a half fast."""

    def now(self) -> float:
        return super().now() + 90.0


def test_the_skew_of_a_clock_is_seen_beside_the_server_s(database: Database) -> None:
    metrics = Metrics(Ledger(database, Ahead()), Ahead(), version="1", states=False)
    skew_s = metrics.registry.get_sample_value("headwater_clock_skew_seconds")
    assert skew_s == pytest.approx(90.0, abs=5.0)
