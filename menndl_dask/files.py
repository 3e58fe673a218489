"""Files and folders that are opened with care, and replaced whole. Runs anywhere.

A run directory may have been handed over, or others may write to it. A symbolic link in place of a file is therefore
never followed, and a fifo or device never opened. What is written gets a hidden name that cannot be guessed, is flushed
to the disk, and is then renamed.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

MODE = 0o664  # of new files, less the umask: never open to all for writing
_FOLDER_MODE = 0o775
_DIGITS = 20  # of the number in a hidden name
_MOST = 64 * 2**20  # bytes of a text file
_KINDS = {
    stat.S_IFREG: "a file", stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a fifo",
    stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip
_NO_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM)  # of folders, on some file systems


def open_regular(path: Path, flags: int = os.O_RDONLY, *, root: Path | None = None) -> int:
    """Open a file and return its descriptor; a link, fifo, socket or device in its place is not opened.

    Parameters
    ----------
    path
        The file.
    flags
        As for `os.open`.
    root
        If given, none of the folders below it that lead to the file may be a symbolic link.

    Raises
    ------
    OSError
        If it cannot be opened. ``strerror`` says what is in its place.
    """
    check_folders(path, root)
    with suppress(FileNotFoundError):
        _check_kind(path, path.lstat())  # before it is opened: to open a device can have effects
    file = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, MODE)
    try:
        _check_kind(path, os.fstat(file))
    except OSError:
        os.close(file)
        raise
    return file


def kind_of(mode: int) -> str:
    """Return in words what a mode, such as ``st_mode`` of `os.lstat`, is of, such as ``a symbolic link``."""
    return _KINDS.get(stat.S_IFMT(mode), "something else")


def check_folders(path: Path, root: Path | None) -> None:
    """Check that no folder between `root` and a file is a symbolic link; None checks no folder.

    Raises
    ------
    OSError
        If one is.
    """
    if root is None:
        return
    folder = root
    for part in path.parent.relative_to(root).parts:
        folder = folder / part
        if folder.is_symlink():
            raise OSError(errno.ELOOP, f"expected {folder.name} to be a folder, got a symbolic link", str(path))


def read_text(path: Path, *, at_most: int = _MOST, root: Path | None = None) -> str:
    """Return the text of a file in UTF-8; `root` is as for `open_regular`.

    Raises
    ------
    OSError
        If it cannot be read, is no text, or has more bytes than `at_most`.
    """
    with os.fdopen(open_regular(path, root=root), "rb") as file:
        data = file.read(at_most + 1)
    if len(data) > at_most:
        raise OSError(errno.EFBIG, f"expected at most {at_most:,} bytes, got more", str(path))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        wrong = f"expected text in UTF-8, got another form at byte {error.start}"
        raise OSError(errno.EILSEQ, wrong, str(path)) from error


@contextmanager
def replacing(path: Path, *, root: Path | None = None) -> Iterator[Path]:
    """Yield a hidden path to write to, which is renamed to `path` at the end and removed after an error.

    A reader sees the old file or the new one, never a part, and after a power cut too. A folder can only take the place
    of an empty one; remove the old one first with `remove_folder`, and `flush` the new one if it must be durable.

    Raises
    ------
    OSError
        If a device is there: root could put a file in the place of ``/dev/null``, for all programs of the machine.
    """
    check_folders(path, root)
    with suppress(FileNotFoundError):
        found = path.lstat()
        if stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
            _check_kind(path, found)
    partial = _hidden(path)
    try:
        yield partial
        if stat.S_ISREG(partial.lstat().st_mode):
            flush(partial)
        partial.replace(path)
        flush_folder(path.parent)
    finally:
        with suppress(OSError):  # such as of a file system that is gone; what led here is told
            _remove(partial)


def write_text(path: Path, text: str, *, root: Path | None = None) -> None:
    """Replace a text file; the new one is on the disk when this returns."""
    with replacing(path, root=root) as partial, os.fdopen(create(partial), "w", encoding="utf-8") as file:
        file.write(text)


def create(path: Path) -> int:
    """Create a file that does not exist, for writing, and return its descriptor."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)


def flush(path: Path) -> None:
    """Return when a file, or a folder with all that is in it, is on the disk."""
    if path.is_symlink():
        return
    if not path.is_dir():
        file = open_regular(path)
        try:
            os.fsync(file)
        finally:
            os.close(file)
        return
    for entry in path.iterdir():
        flush(entry)
    flush_folder(path)


def flush_folder(path: Path) -> None:
    """Return when the names of the files in a folder are on the disk, where its file system can do that."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:  # one may write to it, but not list it
        return
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in _NO_FLUSH:
            raise
    finally:
        os.close(folder)


def new_folder(path: Path) -> None:
    """Make a folder and those above it, if they do not exist; they are on the disk when this returns."""
    try:
        path.mkdir(_FOLDER_MODE)
    except FileNotFoundError:
        new_folder(path.parent)
        path.mkdir(_FOLDER_MODE, exist_ok=True)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    flush_folder(path.parent)


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
    """Remove a folder if it exists; it disappears from its name at once. A symbolic link is not followed."""
    doomed = _hidden(path)
    with suppress(FileNotFoundError):
        path.rename(doomed)
        _remove(doomed)


def leftovers(folder: Path, name: str | None = None) -> list[Path]:
    """Return what killed processes have left of writing or removing `name` in a folder, or of any name."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        of, _, number = path.name.removesuffix(".removed")[1:].rpartition(".")  # .removed: of versions until 0.3
        is_ours = len(number) == _DIGITS if name is None else of == name
        if path.name.startswith(".") and of and number.isdecimal() and is_ours:
            found.append(path)
    return sorted(found)


def sweep(folder: Path, name: str | None = None, *, older_s: float | None = None) -> None:
    """Remove `leftovers`, or those not changed for some seconds; without an age only for the only writer of `name`."""
    for left in leftovers(folder, name):
        with suppress(FileNotFoundError):
            if older_s is None or time.time() - left.lstat().st_mtime > older_s:
                _remove(left)


def _hidden(path: Path) -> Path:
    """Return a path beside `path` that does not exist and cannot be guessed."""
    if not path.name:
        raise OSError(errno.EINVAL, "expected the name of a file, got a folder", str(path))
    return path.with_name(f".{path.name}.{secrets.randbelow(10**_DIGITS):0{_DIGITS}d}")


def _check_kind(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        got = kind_of(found.st_mode)
        number = {"a symbolic link": errno.ELOOP, "a folder": errno.EISDIR}.get(got, errno.EINVAL)
        raise OSError(number, f"expected a file, got {got}", str(path))


def _remove(path: Path) -> None:
    """Remove a file, a folder or a symbolic link, which is not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
