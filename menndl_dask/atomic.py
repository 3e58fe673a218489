"""Files and folders that appear, change and vanish whole: made aside, then renamed. Runs on the driver."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def aside(path: Path) -> Path:
    """Return where this process may prepare what is to stand at `path`: a hidden name in the same folder."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def write_text(path: Path, text: str) -> None:
    """Write a text file, on the disk when this returns; a reader sees the old one or the new one."""
    prepared = aside(path)
    with prepared.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    prepared.replace(path)


def put_folder(prepared: Path, path: Path) -> None:
    """Put a prepared folder in place of the one that may stand there.

    POSIX cannot exchange two folders: for an instant there is none, and a reader that has the old one open loses it.
    """
    remove_folder(path)
    prepared.rename(path)


def remove_folder(path: Path) -> None:
    """Remove a folder, if there is one; nobody sees half of it under its name."""
    doomed = aside(path).with_suffix(".removed")
    try:
        path.rename(doomed)
    except FileNotFoundError:
        return
    shutil.rmtree(doomed, ignore_errors=True)


def sweep(folder: Path, name: str) -> None:
    """Remove what killed processes have left aside for `name`; only for whoever alone writes it."""
    for left in folder.glob(f".{name}.*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
