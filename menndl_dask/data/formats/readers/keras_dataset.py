"""Data sets that Keras knows by name, such as ``keras:fashion_mnist``. Runs on the driver.

A child process lets Keras read its cache or download the data set, so that the driver does not import Keras:
https://keras.io/api/datasets/
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from menndl_dask.data.formats.content import Content, SourceArray
from menndl_dask.data.formats.library import reading
from menndl_dask.errors import DataError, nearest, shortened

PREFIX = "keras:"
_SILENCE_S = 30  # of a server, after which a download has failed
_LOAD = f"""
import socket, sys
import numpy as np
socket.setdefaulttimeout({_SILENCE_S})
from menndl_dask.program.keras_import import import_frugally
import_frugally("keras")
from keras import datasets
(images, labels), (test_images, test_labels) = getattr(datasets, sys.argv[1]).load_data()
split = np.repeat(["train", "test"], [len(images), len(test_images)])
labels = np.concatenate([labels.ravel(), test_labels.ravel()])
np.savez(sys.argv[2], image=np.concatenate([images, test_images]), label=labels, split=split)
"""


@dataclass(frozen=True, slots=True)
class _KerasSet:
    """Class names of a data set, and its files: their folder in the cache, names there, and where they come from."""

    classes: tuple[str, ...]
    folder: str
    files: tuple[str, ...]
    origin: str


_DIGITS = tuple(str(number) for number in range(10))
_STORAGE = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"
_TORONTO = "https://www.cs.toronto.edu/~kriz"
KERAS_SETS: Mapping[str, _KerasSet] = {
    "mnist": _KerasSet(_DIGITS, "", ("mnist.npz",), f"{_STORAGE}/mnist.npz"),
    "fashion_mnist": _KerasSet(
        ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
        "fashion-mnist",
        tuple(f"{s}-{k}-ubyte.gz" for s in ("train", "t10k") for k in ("images-idx3", "labels-idx1")),
        _STORAGE,
    ),
    "cifar10": _KerasSet(
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        "",
        ("cifar-10-batches-py-target_archive",),
        f"{_TORONTO}/cifar-10-python.tar.gz",
    ),
    "cifar100": _KerasSet((), "", ("cifar-100-python-target_archive",), f"{_TORONTO}/cifar-100-python.tar.gz"),
}
"""Data sets of images by the name of their module in Keras; of CIFAR-100, Keras has no class names."""


def keras_name(path: Path) -> str | None:
    """Return the name in ``keras:name``; None for the path of a file.

    >>> keras_name(Path("keras:mnist")), keras_name(Path("mnist.npz"))
    ('mnist', None)
    """
    text = str(path)
    return text.removeprefix(PREFIX) if text.startswith(PREFIX) else None


@contextmanager
def open_keras(name: str) -> Iterator[Content]:
    """Open a data set with the split train or test of each image.

    Raises
    ------
    DataError
        If there is no such data set, or Keras can neither read nor download it.
    """
    if name not in KERAS_SETS:
        raise DataError(f"{PREFIX}{name}: expected one of {', '.join(KERAS_SETS)}{nearest(name, KERAS_SETS)}")
    with TemporaryDirectory(prefix="menndl-") as folder:
        target = Path(folder) / "loaded.npz"
        _load(name, target)
        with reading(target, ".npz"), np.load(target) as file:
            arrays = {key: SourceArray(file[key]) for key in ("image", "label", "split")}
        note = "splits: validation samples will be drawn from the training samples, of each class alike"
        yield Content(arrays, KERAS_SETS[name].classes, ("image",), "label", notes=(note,))


def _load(name: str, target: Path) -> None:
    """Let Keras load a data set in a child process, and write it to a file."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-P", "-c", _LOAD, name, str(target)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        known = KERAS_SETS[name]
        home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
        why = (done.stderr.strip().splitlines() or ["no message"])[-1]
        if "URL fetch failure" in why:
            why = f"no download: {why.rpartition(' -- ')[2]}"
        raise DataError(
            f"{PREFIX}{name}: Keras cannot load it: {shortened(why, 160)}; without a network, fetch it elsewhere from "
            f"{known.origin} and put it here as {', '.join(known.files)} in {home / 'datasets' / known.folder}"
        )
