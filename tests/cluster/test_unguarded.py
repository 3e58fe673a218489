"""A script without ``if __name__ == "__main__":`` is told so in one line: each worker would import it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
from menndl_dask import load_cluster

with load_cluster("local", workers=2) as cluster, cluster.client() as client:
    print("started")
"""


def test_a_script_without_the_guard_is_told_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SCRIPT)
    command = [sys.executable, "mine.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith('mine.py: put what starts the search under `if __name__ == "__main__":`')
