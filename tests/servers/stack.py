"""Redis, PostgreSQL and Weaviate on loopback, to try things by hand: ``make stack``.

Prints the settings that lead to them, and ends them with Ctrl-C. Their data lies in a temporary folder that
goes with them.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.servers import postgres, redis, weaviate
from tests.servers.process import NotInstalled

SOURCES = {"HEADWATER_SOURCES": json.dumps([str(Path(__file__).parents[2] / "ops/handbook")])}
HOW = """They run until Ctrl-C. Paste the lines above into other terminals, and there start, in any order:
  .venv/bin/headwater watch
  .venv/bin/headwater worker --lane fresh
  .venv/bin/headwater worker --lane bulk
  .venv/bin/headwater schedule
  .venv/bin/headwater api"""


@contextlib.contextmanager
def running(place: Path) -> Iterator[Mapping[str, str]]:
    """All three; gives the variables of their settings. Raises NotInstalled."""
    with contextlib.ExitStack() as stack:
        ledger = stack.enter_context(postgres.own())
        broker = stack.enter_context(redis.serving(place))
        index = stack.enter_context(weaviate.serving(place))
        yield {
            "HEADWATER_LEDGER__URL": postgres.as_text(ledger.empty()),
            "HEADWATER_BROKER__URL": broker.url,
            "HEADWATER_INDEX__KIND": "weaviate",
            "HEADWATER_INDEX__URL": index.url,
            "HEADWATER_INDEX__GRPC_PORT": str(index.grpc_port),
            "HEADWATER_INDEX__API_KEY": index.api_key or "",
        }


def main() -> int:
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    print("Starting Redis, PostgreSQL and Weaviate ...", file=sys.stderr)
    try:
        with contextlib.ExitStack() as stack:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headwater-stack-")))
            for name, value in {**stack.enter_context(running(place)), **SOURCES}.items():
                print(f"export {name}={shlex.quote(value)}", flush=True)
            print(HOW, file=sys.stderr)
            ended.wait()
    except NotInstalled as fault:
        print(fault, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
