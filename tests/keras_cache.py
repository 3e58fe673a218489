"""A cache of Keras with a small data set, for tests without a network."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np


def write_fashion(home: Path, *, train: int = 60, test: int = 20) -> Path:
    """Write a cache of Keras with a few images, laid out as Fashion-MNIST is published; each image has its number."""
    folder = home / "datasets" / "fashion-mnist"
    folder.mkdir(parents=True)
    for part, number in (("train", train), ("t10k", test)):
        labels = (np.arange(number) % 10).astype("uint8")
        images = np.repeat(np.arange(number, dtype="uint8"), 28 * 28)
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(8) + labels.tobytes()))
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + images.tobytes()))
    return home
