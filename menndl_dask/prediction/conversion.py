"""Images of other formats as a Zarr store, for as long as they are predicted. Runs on the driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import zarr

from menndl_dask import files
from menndl_dask.data.store.local_store import quietly, store_of
from menndl_dask.errors import DataError, UserError, nearest

_OME = ("multiscales", "ome")  # attributes of an OME-Zarr, whose arrays have no names of dimensions


@contextmanager
def as_store(
    source: str, target: Path, names: Sequence[str], notice: Callable[[str], None]
) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield a Zarr store with images, and the names of the variables; another format is converted beside the target.

    Parameters
    ----------
    source
        Path or URL of a Zarr store, or path of a file or folder that `menndl_dask.data.formats.conversion` reads.
    target
        The store with the predictions.
    names
        Of the variables or arrays with the images, one for each view.
    notice
        Called with what was found and taken, if the source is converted.

    Raises
    ------
    UserError
        If there is no such source, or it cannot be converted; the message names the command that converts it.
    """
    if "://" in source or _is_store(Path(source)):
        yield source, names
        return
    from menndl_dask.data.formats.conversion import write_converted
    from menndl_dask.data.formats.conversion_options import Options

    path = Path(source)
    if not path.exists():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"{path}: expected images, found no such file or folder{nearest(path.name, beside)}")
    store = target.with_name(f".{target.name}.images")
    several = tuple(names) if len(names) > 1 else ()
    try:
        try:
            done = write_converted(path, store, Options(images=several))
        except UserError as error:
            better = f"menndl convert {source} IMAGES.zarr"
            raise UserError(f"{error}; to convert it with options: {better}, then predict IMAGES.zarr") from error
        for line in (f"images of {source}:", *done.lines):
            notice(line)
        yield str(store), several or ("image",)
    finally:
        files.remove_folder(store)


def _is_store(path: Path) -> bool:
    """Return whether a folder is a Zarr store or array that is read as it is."""
    if not any((path / marker).is_file() for marker in ("zarr.json", ".zgroup", ".zarray", ".zmetadata")):
        return False
    try:
        with quietly():
            attributes = zarr.open(store_of(path), mode="r").attrs.asdict()
    except Exception:  # noqa: BLE001  opening it as images says what is wrong
        return True
    return not any(name in attributes for name in _OME)
