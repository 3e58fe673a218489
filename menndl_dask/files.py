"""Files and folders that are replaced whole: written under a hidden name, then renamed. Runs anywhere."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile


def partial_path(path: Path) -> Path:
    """Return the hidden path beside `path` where this thread writes before the file or folder gets its name."""
    return path.with_name(f".{path.name}.{threading.get_native_id()}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a hidden path to write to, which is renamed to `path` at the end and removed after an error.

    A reader sees the old file or the new one, never a part. A folder can only take the place of an empty one; remove
    the old one first with `remove_folder`.
    """
    partial = partial_path(path)
    try:
        yield partial
        partial.replace(path)
    finally:
        _remove(partial)


def write_text(path: Path, text: str) -> None:
    """Replace a text file; the new one is on the disk when this returns."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def make_folder(path: Path, size: int = 1) -> str:
    """Make a folder if it does not exist, and write `size` bytes in it as a trial; return what is wrong, or ``""``."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path) as file:
            file.write(bytes(size))
    except OSError as error:
        return f"expected a folder that can be written to, got {path}: {error.strerror}"
    return ""


def remove_folder(path: Path) -> None:
    """Remove a folder if it exists; it disappears from its name at once."""
    doomed = partial_path(path).with_suffix(".removed")
    with suppress(FileNotFoundError):
        path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def sweep(folder: Path, name: str) -> None:
    """Remove what killed processes have left of writing or removing `name`; only for its only writer."""
    for left in folder.glob(f".{name}.[0-9]*"):
        _remove(left)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
