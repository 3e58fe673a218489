"""Check names of metrics and losses against Keras, in a separate process. Runs on the driver."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection

from menndl_dask.errors import UserError, nearest

_ANSWER_S = 120
# looks names up as the training process does; lists the names of the Keras documentation
_QUESTION = """
import json, sys, keras
module = getattr(keras, sys.argv[1])
try:
    module.get(sys.argv[2])
    answer = None
except (ValueError, TypeError) as error:
    names = [name for name in dir(module) if name[0] != "_" and name not in ("get", "serialize", "deserialize")]
    answer = [str(error), names]
print(json.dumps(answer))
"""


def check_name(what: str, name: str, built_in: Collection[str], backend: str | None = None) -> None:
    """Check that a metric or loss exists, before every training fails because of it.

    Names in `built_in` are accepted without asking Keras, and all names if Keras cannot be asked. A user's function
    (``module:function``) is checked where the trainings run.

    Raises
    ------
    UserError
        If Keras does not know the name; the message suggests the nearest one.
    """
    if name in built_in or ":" in name:
        return
    command = [sys.executable, "-c", _QUESTION, {"metric": "metrics", "loss": "losses"}[what], name]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment |= {} if backend is None else {"KERAS_BACKEND": backend}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_ANSWER_S, check=True
        )
        error = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return
    if error is not None:
        message, keras_names = error
        expected = f"{', '.join(built_in)}, a name of Keras or module:function"
        near = nearest(name, [*built_in, *keras_names])
        raise UserError(f"{what}: expected {expected}, got {name!r}{near or f' ({message})'}")
