"""Draw the dashboards over a real run, for the README: ``make pictures``."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.dashboards import FOLDER, MEASURED
from tests.pictures.answers import Exposure
from tests.pictures.drawing import draw
from tests.pictures.run import QUIET_S, SCRAPE_S, STOPPED_S, photographed

PICTURES = FOLDER.parent / "pictures"

PICTURES.mkdir(exist_ok=True)
print(f"Running for {(QUIET_S + STOPPED_S) / 60:.0f} minutes ...")
with tempfile.TemporaryDirectory() as place, photographed(Path(place)) as prometheus:
    end = time.time()
    exposure = Exposure(prometheus, end - QUIET_S - STOPPED_S, end, SCRAPE_S)
    for name, board in MEASURED.items():
        draw(board, exposure, PICTURES / f"{name}.png")
        print(f"{name}.png: {(PICTURES / f'{name}.png').stat().st_size / 1000:.0f} kB")
