"""Runs SQL on the shop's table: ``python sql.py "UPDATE products SET price = '24.90' WHERE id = 1"``."""

import sqlite3
import sys

if __name__ == "__main__":
    connection = sqlite3.connect("products.db")
    with connection:
        connection.executescript(sys.argv[1] if len(sys.argv) > 1 else sys.stdin.read())
    connection.close()
