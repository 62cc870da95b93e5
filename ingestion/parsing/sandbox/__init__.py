"""Parsers that can bite, kept in processes of their own: what one does there costs one document.

::

    pool.py     which child parses what; retried once, restarted after a while, closed with the process
    process.py  one child from outside: started, asked, ended with all it started
    child.py    one child from inside: its limits, then one document after another
    answers.py  what goes over the pipe: bounded JSON, checked before it is believed
    limits.py   how much of everything one document may take

A child has no environment, no open file and no way to open one or a connection: while a document is in
it, it may hold no descriptor beyond its pipes.
"""

from ingestion.parsing.sandbox.limits import Limits
from ingestion.parsing.sandbox.pool import NoRoom, Sandbox, TakesLong

__all__ = ["Limits", "NoRoom", "Sandbox", "TakesLong"]
