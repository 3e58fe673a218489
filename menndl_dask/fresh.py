"""A training in a fresh interpreter, where forking is not safe. Runs as a child of the trainer."""

from __future__ import annotations

import os

from menndl_dask.child import connect_to_parent
from menndl_dask.frugal import import_frugally


def main() -> None:
    """Run one task that the parent sends."""
    channel = connect_to_parent()
    training = import_frugally("menndl_dask.training")
    training.run(channel.receive(), channel)
    os._exit(0)  # TensorFlow takes seconds to tidy up what ends anyway


if __name__ == "__main__":
    main()
