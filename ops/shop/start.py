"""Makes a copy of the shop in a folder, serves its page on this machine, and keeps the shop searchable.

``python start.py FOLDER``: what is changed in the folder shows in the answers; Ctrl-C ends both.
"""

from __future__ import annotations

import functools
import http.server
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
HEADWATER = Path(sys.executable).parent / "headwater"
PAGE_PORT = 7880  # as headwater.toml has it


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves, and tells of no request."""

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        return


def copied(folder: Path) -> Path:
    """The shop as it is at first, unless the folder holds one already."""
    if not folder.exists():
        shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("start.py", "__pycache__"))
        settings = folder / "headwater.toml"
        settings.write_text(settings.read_text().replace("/srv/shop", folder.resolve().as_posix()))
        with sqlite3.connect(folder / "products.db") as database:
            database.executescript((folder / "products.sql").read_text())
        database.close()
    return folder


def main(folder: Path) -> int:
    handler = functools.partial(Quiet, directory=str(folder / "site"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", PAGE_PORT), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    program = subprocess.Popen([HEADWATER, "up"], cwd=folder)
    try:
        return program.wait()
    except KeyboardInterrupt:  # the program was told, too
        return program.wait()


if __name__ == "__main__":
    raise SystemExit(main(copied(Path(sys.argv[1]))))
