"""The vocabulary: which metrics and losses Keras knows, asked in a process of its own. Runs on the driver."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection

from menndl_dask.errors import UserError, nearest

_ANSWER_S = 120
# asks as the training process will; the names are those that a user finds in the documentation
_QUESTION = """
import json, sys, keras
place = getattr(keras, sys.argv[1])
try:
    place.get(sys.argv[2])
    told = None
except (ValueError, TypeError) as error:
    names = [name for name in dir(place) if name[0] != "_" and name not in ("get", "serialize", "deserialize")]
    told = [str(error), names]
print(json.dumps(told))
"""


def check_name(what: str, name: str, ours: Collection[str], backend: str | None = None) -> None:
    """Find out on the driver that there is no such metric or loss, before every network fails for it.

    The user's own (``module:function``) is looked for where the trainings run. Where Keras does not answer here, it
    will there.

    Parameters
    ----------
    what
        ``metric`` or ``loss``.
    name
        What the user calls it.
    ours
        Names for which nobody has to be asked.
    backend
        Of Keras, where the user has chosen one.

    Raises
    ------
    UserError
        If Keras does not know it either; names the nearest known one.
    """
    if name in ours or ":" in name:
        return
    places = {"metric": "metrics", "loss": "losses"}
    command = [sys.executable, "-c", _QUESTION, places[what], name]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment |= {} if backend is None else {"KERAS_BACKEND": backend}
    try:
        answer = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_ANSWER_S, check=True
        )
        told = json.loads(answer.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return
    if told is not None:
        said, theirs = told
        expected = f"{', '.join(ours)}, a name of Keras or module:function"
        near = nearest(name, [*ours, *theirs])
        raise UserError(f"{what}: expected {expected}, got {name!r}{near or f' ({said})'}")
