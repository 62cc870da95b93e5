"""Rows of a table, kept searchable by `headwater up`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.acceptance.program import Program
from tests.servers.postgres import Postgres, as_text, connected

SETTINGS = '''
[[sources]]
name = "prices"
kind = "sql"
url = "{url}"
query = "SELECT sku, name, price, updated_at FROM products WHERE NOT hidden"
key = ["sku"]
changed = "updated_at"
every_s = 0.5
text = """# {{name}}

{{name}} costs {{price:.2f}} EUR."""
'''
MADE = """CREATE TABLE products (sku text PRIMARY KEY, name text, price numeric(8, 2),
    hidden boolean NOT NULL DEFAULT false, updated_at timestamptz NOT NULL DEFAULT clock_timestamp())"""


@pytest.fixture
def url(postgres: Postgres) -> Iterator[sa.URL]:
    made = postgres.empty()
    with connected(made) as connection:
        connection.execute(MADE.encode())
        connection.execute(
            "INSERT INTO products (sku, name, price) VALUES ('T-1', 'Assam', 4), ('T-2', 'Darjeeling', 9)"
        )
    yield made
    postgres.drop(made)


def test_a_row_becomes_searchable_and_follows_an_edit_a_deletion_and_a_trigger(
    url: sa.URL, tmp_path: Path
) -> None:
    config = tmp_path / "headwater.toml"
    config.write_text(SETTINGS.format(url=as_text(url)))

    def change(statement: str) -> None:
        with connected(url) as connection:
            connection.execute(statement.encode())

    def found(words: str) -> dict[str, str]:
        return {hit["uri"]: hit["text"] for hit in program.search(words)}

    with Program(tmp_path / "data", "--config", config) as program:
        program.start().ready()
        assert "Assam costs 4.00 EUR." in found("what does Assam cost")["T-1"]
        change("UPDATE products SET price = 5, updated_at = clock_timestamp() WHERE sku = 'T-1'")
        program.until(lambda: "5.00 EUR" in found("what does Assam cost").get("T-1", ""), what="the edit")
        said = program.command("sql", "install", "prices", "--config", config).stdout
        assert "public.products tells" in said
        change("UPDATE products SET price = 6 WHERE sku = 'T-1'")  # which the change column does not tell
        program.until(
            lambda: "6.00 EUR" in found("what does Assam cost").get("T-1", ""), what="the trigger's"
        )
        change("DELETE FROM products WHERE sku = 'T-2'")
        program.until(lambda: "T-2" not in found("Darjeeling"), what="the deletion")
        status = program.command("status", "--config", config).stdout
        assert (url.password or "") not in status
        assert "prices" in status
