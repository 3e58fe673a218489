"""The user's own signature on what a run says of code that is run. Runs on the driver.

A run directory may be copied, moved and handed over. What in it leads to code that is run is the command line, the
cluster profile, and the user's own losses, metrics, augmentations and gene kinds. A search signs these with a key that
only its user can read, in the folder that `menndl_dask.program.guard.state_folder` names. So a run of one's own goes
on without more words, and that of another user runs no code. No worker and no batch job is given the key.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, Self

from menndl_dask import own_code
from menndl_dask.errors import UserError
from menndl_dask.program.guard import state_folder
from menndl_dask.validation import read

_FILE, _BYTES = "key", 32
_ABOUT, _ABOUT_JOBS = b"menndl_dask, run, 1\n", b"menndl_dask, jobs, 1\n"  # a signature of one is none of the other


@dataclass(frozen=True, slots=True)
class Source:
    """A file that code is read from, as it was when a driver started."""

    file: str
    sha256: str

    @classmethod
    def of(cls, path: Path | None) -> Self:
        """Return what a file is now; None for no file, or one that is not found."""
        if path is None or not path.is_file():
            return cls("", "")
        return cls(str(path.resolve()), sha256(path.read_bytes()).hexdigest())


@dataclass(frozen=True, slots=True)
class Signed:
    """What a run says of code, with a signature.

    Parameters
    ----------
    arguments
        Words of the command line.
    data
        Path or URL of the data set; empty if there is none.
    profile
        The cluster profile; None for one that is shipped.
    code
        Names of code of the user's own, such as ``my_losses:focal``, each with the file of its module.
    signature
        Of the other fields, in hexadecimal digits; empty if there was no key.
    """

    arguments: tuple[str, ...]
    data: str = ""
    profile: Source | None = None
    code: Mapping[str, Source] = field(default_factory=dict)
    signature: str = ""

    @classmethod
    def of(cls, arguments: Sequence[str], data: str, profile: Path | None, code: Iterable[str]) -> Self:
        """Sign the words of a command line, and the data, the profile and the code that it names."""
        found = {name: Source.of(_file_of(name)) for name in sorted(set(code))}
        unsigned = cls(tuple(arguments), data, None if profile is None else Source.of(profile), found)
        key, _ = own_key(is_made=True)
        return unsigned if key is None else replace(unsigned, signature=unsigned._digest(key))

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> Self | None:
        """Read the latest one from the settings of a run; None if there is none that can be read."""
        values = settings.get("signed")
        if not isinstance(values, Mapping):
            return None
        try:
            profile = values.get("profile")
            code = {str(name): read(Source, each, "code") for name, each in dict(values.get("code") or {}).items()}
            profile = None if profile is None else read(Source, profile, "profile")
            return read(cls, {**values, "profile": profile, "code": code}, "signed")
        except (UserError, TypeError, ValueError):
            return None

    def to_dict(self) -> dict[str, Any]:
        """Return it as a plain dict that JSON can hold."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]  # lists in place of tuples

    @property
    def is_own(self) -> bool:
        """Whether this user has signed it."""
        key, _ = own_key()
        return key is not None and hmac.compare_digest(self._digest(key).encode(), self.signature.encode())

    def trusted_code(self) -> list[str]:
        """Return the names of code that stand for the same file, or for one with the same content, as when signed.

        What is not found from here may still be where it was, as it was.
        """
        return sorted(self._found()) if self.is_own else []

    def folders(self) -> list[str]:
        """Return the folders from which code that may be trusted is imported, where it is not found from here."""
        if not self.is_own:
            return []
        files = [Path(now.file) for name, now in self._found().items() if _file_of(name) is None]
        return sorted({str(file.parents[file.name == "__init__.py"]) for file in files})

    def _found(self) -> dict[str, Source]:
        """Return the names of code whose file can be trusted, with that file."""
        found = {}
        for name, was in self.code.items():
            file = _file_of(name)
            now = Source.of(Path(was.file) if file is None and was.file else file)
            if now.file and (now.sha256 == was.sha256 or (file is not None and now.file == was.file)):
                found[name] = now
        return found

    def _digest(self, key: bytes) -> str:
        values = {name: value for name, value in self.to_dict().items() if name != "signature"}
        return _digest(key, _ABOUT, values)


def allow_signed(settings: Mapping[str, Any]) -> None:
    """Allow this process to import what this user has signed of the code that a run names."""
    if (signed := Signed.read(settings)) is not None:
        own_code.allow(signed.trusted_code(), signed.folders())


def sign(values: Mapping[str, Any]) -> str:
    """Return this user's signature on what is recorded of batch jobs; empty if there is no key."""
    key, _ = own_key(is_made=True)
    return "" if key is None else _digest(key, _ABOUT_JOBS, values)


def is_signed(values: Mapping[str, Any], signature: str) -> bool:
    """Return whether a signature is that of this user on these values, see `sign`."""
    key, _ = own_key()
    return key is not None and hmac.compare_digest(_digest(key, _ABOUT_JOBS, values).encode(), signature.encode())


def _digest(key: bytes, about: bytes, values: Mapping[str, Any]) -> str:
    return hmac.new(key, about + json.dumps(values, sort_keys=True).encode(), sha256).hexdigest()


def own_key(*, is_made: bool = False) -> tuple[bytes | None, str]:
    """Return the key of this user, and why there is none; it is made on its first use for signing."""
    try:
        path = state_folder() / _FILE
    except RuntimeError as error:  # there is no home
        return None, str(error)
    try:
        if is_made and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            partial = path.with_name(f".key.{secrets.token_hex(8)}")
            file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(file, "wb") as opened:
                    opened.write(secrets.token_bytes(_BYTES))
                os.link(partial, path)  # unlike a renaming, never in place of the key of another start
            except FileExistsError:
                pass
            finally:
                partial.unlink()
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(file, "rb") as opened:
            state = os.fstat(opened.fileno())
            if not stat.S_ISREG(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o077:
                return None, f"{path}: expected a file that only its user can read (chmod 600)"
            key = opened.read(_BYTES + 1)
        return (key, "") if len(key) == _BYTES else (None, f"{path}: expected {_BYTES} bytes, got {len(key)}")
    except OSError as error:
        return None, f"{path}: {error.strerror}"


def _file_of(name: str) -> Path | None:
    """Return the file of a module, of a package that of its top level, without importing it."""
    top = name.partition(":")[0].partition(".")[0]
    found = PathFinder.find_spec(top, [*sys.path, str(Path.cwd())]) if top.isidentifier() else None
    return None if found is None or found.origin is None else Path(found.origin)
