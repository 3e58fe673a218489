"""What is not imported with Keras."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from menndl_dask.evaluation.keras_import import import_frugally
import pandas
import_frugally("keras")
print("sklearn" in sys.modules, sys.modules["pandas"] is pandas)
import sklearn
"""


def test_unused_packages_are_not_imported_with_keras_but_can_be_later() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout == "False True\n"
