"""What is not imported with Keras."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import gc
import sys
from menndl_dask.program.keras_import import import_frugally
import pandas
import_frugally("keras")
print("sklearn" in sys.modules, "jax" in sys.modules, sys.modules["pandas"] is pandas, gc.isenabled())
import sklearn
"""


def test_unused_packages_are_not_imported_with_keras_but_can_be_later() -> None:
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )  # fmt: skip
    assert done.stdout == "False False True True\n"
