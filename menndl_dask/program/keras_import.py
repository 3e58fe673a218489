"""Importing Keras without packages that it imports but that we do not use. Runs in processes that train or predict."""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from typing import Any

# Keras imports these, if they are installed, for its wrappers, data frames and plots. Without them its import takes 3.2
# instead of 4.7 s of processor time with TensorFlow, and 1.2 instead of 2.6 s with JAX (30 November 2026, two cores of
# a virtual machine, median of four turns).
_UNUSED = ("sklearn", "pandas", "matplotlib", "IPython")
_JAX = ("jax",)  # TensorFlow imports it, if it is installed, for a converter: a sixth of the time of its import


def import_frugally(module: str) -> Any:
    """Import Keras, or a module that imports it, as if unused packages were not installed; return the module.

    The packages can be imported later. Meanwhile no garbage is collected: an import makes hundreds of thousands of
    objects that stay, and looking through them again and again takes a sixth of its time.
    """
    unused = _UNUSED + _JAX if os.environ.get("KERAS_BACKEND") == "tensorflow" else _UNUSED
    hidden = [name for name in unused if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # importing a name that is None raises ImportError
    collects = gc.isenabled()
    gc.disable()
    try:
        return import_module(module)
    finally:
        if collects:
            gc.enable()
        for name in hidden:
            del sys.modules[name]
