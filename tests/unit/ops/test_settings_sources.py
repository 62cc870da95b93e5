"""What is said of folders that cannot be sources, before anything is started."""

from __future__ import annotations

import os
from pathlib import Path

from ops.settings_sources import faults_between


def test_a_folder_whose_name_is_no_utf_8_is_refused_and_a_link_to_it_is_not(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    link = tmp_path / "café"
    found = [list(faults_between([{"root": str(root)}], str(tmp_path / "data"))) for root in (folder, link)]
    assert found == [
        [(("sources", 0, "root"), "is no UTF-8; rename the folder, or give a link to it.")],
        [],
    ]
