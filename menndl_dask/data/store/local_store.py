"""A Zarr store on a disk, of which only files are read. Runs on the driver and on workers.

What is no file, such as a fifo or a device in the place of metadata or of a chunk, would be read for ever.
"""

from __future__ import annotations

import logging
import stat
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zarr.storage import LocalStore

_METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
_MOST_BYTES = 64 * 2**20  # of metadata


class FilesOfStore(LocalStore):
    """A folder with a Zarr store, for reading; raises `OSError` for what is no file, or is too large for metadata."""

    def __init__(self, root: Path | str, *, read_only: bool = True) -> None:
        super().__init__(root, read_only=read_only)

    def _check(self, key: str) -> None:
        path = self.root / key
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            raise OSError(f"{key}: expected a file, got a fifo, a socket or a device")
        if found.st_size > _MOST_BYTES and path.name in _METADATA:
            raise OSError(f"{key}: expected metadata, got {found.st_size / 2**20:.0f} MiB")

    async def get(self, key: str, *arguments: Any, **options: Any) -> Any:
        """Return the bytes of a file."""
        self._check(key)
        return await super().get(key, *arguments, **options)

    def get_sync(self, key: str, *arguments: Any, **options: Any) -> Any:
        """Return the bytes of a file, as later versions of Zarr ask for them."""
        self._check(key)
        return super().get_sync(key, *arguments, **options)

    async def get_partial_values(self, prototype: Any, key_ranges: Iterable[tuple[str, Any]]) -> Any:
        """Return parts of files."""
        wanted = list(key_ranges)
        for key, _ in wanted:
            self._check(key)
        return await super().get_partial_values(prototype, wanted)


def store_of(path: str | Path) -> Any:
    """Return what Zarr and xarray open: the URL of a store elsewhere, or a store whose files are looked at first."""
    return str(path) if "://" in str(path) else FilesOfStore(path)


@contextmanager
def quietly() -> Iterator[None]:
    """Leave out what Zarr and xarray warn and log of a damaged store beside the exception that it raises."""
    logger = logging.getLogger("asyncio")
    if _is_told not in logger.filters:
        logger.addFilter(_is_told)  # it logs when the garbage is collected
    with warnings.catch_warnings():
        for library in ("zarr", "xarray"):
            warnings.filterwarnings("ignore", module=library)
        yield


def _is_told(record: logging.LogRecord) -> bool:
    return not ("never retrieved" in record.msg and "zarr" in record.getMessage())
