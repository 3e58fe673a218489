"""Trained networks in files of Keras's format: looked at before Keras reads them. Runs wherever Keras is.

A ``.keras`` file is a ZIP archive with a description of the layers and an HDF5 file with the weights. The description
can name any module, class or function. So before Keras sees it, each name is compared with those that describe a
network: layers, operations, initial values, activation functions. Keras's own safe mode was not enough several times
(CVE-2024-3660, CVE-2025-1550, CVE-2025-8747, CVE-2025-9905, CVE-2025-9906), and version 3.8 imports whatever module is
named.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from menndl_dask.errors import MenndlError, UserError, one_line
from menndl_dask.own_code import OPTION, allow, import_own, imported, is_allowed
from menndl_dask.validation import parse_json, shown

_METADATA, _DESCRIPTION, _WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
_MEMBERS = (_METADATA, _DESCRIPTION, _WEIGHTS)
_KINDS = "menndl_dask_gene_kinds"  # key in the metadata, which Keras passes over
_REFERENCE = re.compile(r"[\w.]{1,200}:[\w.]{1,200}")
_LARGEST_DESCRIPTION = 64 * 2**20  # bytes
_MOST_PACKED = 100  # bytes of a member for each byte in the archive
_MOST_SPARSE = 16  # bytes of the weights for each byte of their file
_ROOM = 64 * 2**20  # bytes beside these shares
_MOST_OBJECTS = 100_000  # groups and arrays of the weights

# modules of Keras whose classes are only values: they read no file and run no code that is in the description
_MODULES = re.compile(
    r"keras|keras\.(layers|initializers|regularizers|constraints|activations|models|dtype_policies|quantizers|losses"
    r"|metrics|optimizers|optimizers\.schedules)|keras\.src\.models\.(functional|sequential|model)"
    r"|keras\.src\.ops\.(numpy|nn|math|image|linalg|einops)|keras\.src\.activations\.activations"
    r"|keras\.src\.applications\.(convnext|inception_resnet_v2)"
)
# the other operations of their modules call functions that a description names
_OPERATIONS = {
    "keras.src.ops.core": (
        "Cast", "SaturateCast", "ConvertToTensor", "Scatter", "ScatterUpdate", "Slice", "SliceUpdate", "StopGradient",
        "Unstack",
    ),
}  # fmt: skip
_CLASS = re.compile(r"[A-Z][A-Za-z0-9]*")
_PLAIN = ("__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__")
# layers that run code from the description, or read other files
_REFUSED = (
    "Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "FeatureSpace", "TextVectorization",
    "StringLookup", "IntegerLookup", "JVP",
)  # fmt: skip
_FROM_KERAS = ("Sequential", "Functional", "Model", "DTypePolicy", "FloatDTypePolicy", "QuantizedDTypePolicy")
_FUNCTIONS = re.compile(  # activation functions, which a description names as functions
    r"relu6?|leaky_relu|prelu|crelu|elu|selu|celu|gelu|glu|softmax|log_softmax|softplus|softsign|soft_shrink|hard_shrink"
    r"|silu|swish|hard_silu|hard_swish|tanh|hard_tanh|tanh_shrink|sigmoid|hard_sigmoid|log_sigmoid|sparse_sigmoid"
    r"|squareplus|sparse_plus|sparsemax|threshold|exponential|linear|mish"
)


class OwnName(NamedTuple):
    """A class or function of the user's own that a description names."""

    module: str
    name: str
    key: str  # by which Keras looks it up
    is_function: bool = False

    @property
    def reference(self) -> str:
        """Module and name, as ``my_layers:Block``."""
        return f"{self.module}:{self.name}"


def load_network(path: str | Path, imports: Iterable[str] = (), *, with_kinds: bool = False) -> Any:
    """Return the Keras model of a ``.keras`` file, not compiled.

    Parameters
    ----------
    path
        The file.
    imports
        Names of the user's own modules, or of names in them, that are imported if the file names them. Their classes
        need not be registered with Keras.
    with_kinds
        Whether the user's own gene kinds of the network are needed too, to encode it.

    Raises
    ------
    UserError
        If the file is not one, or names other code that this process has not imported, or if it cannot be loaded.
    """
    import keras

    allow(imports)
    path = Path(path)
    found = check_network(path, keras.saving.get_custom_objects(), recorded_kinds(path) if with_kinds else ())
    own = _own_code(path, found)
    try:
        return keras.saving.load_model(str(path), custom_objects=own, compile=False, safe_mode=True)
    except Exception as error:  # what Keras and the user's classes raise
        raise UserError(f"{path}: Keras cannot load it: {one_line(error)}") from error


def check_network(path: Path, registered: Collection[str] = (), kinds: Iterable[str] = ()) -> list[OwnName]:
    """Return the classes and functions of the user's own that a file needs.

    Parameters
    ----------
    path
        The file.
    registered
        Names of the user's own classes that this process has registered with Keras.
    kinds
        Names of gene kinds that are needed too.

    Raises
    ------
    UserError
        If it is not a trained network in Keras's format, or names code that may not be imported.
    """
    check_format(path)
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(path, archive)
            with archive.open(_DESCRIPTION) as file:
                description = parse_json(file.read(_LARGEST_DESCRIPTION), f"{path}: {_DESCRIPTION}")
            own = _check_description(path, description, registered)
            with archive.open(_WEIGHTS) as file:
                _check_weights(path, file, archive.getinfo(_WEIGHTS).file_size)
    except MenndlError:
        raise
    except Exception as error:  # damaged archives and HDF5 files raise anything
        raise UserError(f"{path}: cannot be read as a trained network in Keras's format: {one_line(error)}") from error
    refused = {each.module for each in own if not (is_allowed(each.reference) or _is_loaded(each))}
    refused |= {kind.partition(":")[0] for kind in kinds if not is_allowed(kind)}
    if refused:
        names = " ".join(sorted(refused))
        what = "names code that is not of Keras"
        raise UserError(f"{path}: {what}; if you trust it, the same command with {OPTION} {names}")
    return own


def code_at_hand(path: str | Path) -> list[str]:
    """Return the names of Keras layers of the user's own that a file names and that this process has imported.

    Needs no Keras. What is wrong with the file is said where it is loaded.
    """
    try:
        check_format(Path(path))
        with zipfile.ZipFile(path) as archive:
            _check_members(Path(path), archive)
            description = parse_json(archive.read(_DESCRIPTION), f"{path}: {_DESCRIPTION}")
        return [each.reference for each in _check_description(Path(path), description, ()) if _is_loaded(each)]
    except Exception:  # noqa: BLE001  damaged archives raise anything
        return []


def _is_loaded(own: OwnName) -> bool:
    """Return whether the user's program has imported a class of its own that is a layer of Keras."""
    layer = getattr(sys.modules.get("keras"), "Layer", None)
    found = getattr(imported(own.module), own.name, None)
    return layer is not None and isinstance(found, type) and issubclass(found, layer)


def _own_code(path: Path, own: Sequence[OwnName]) -> dict[str, Any]:
    """Import classes and functions of the user's own; return them by the names by which Keras looks them up."""
    import keras

    found: dict[str, Any] = {}
    for each in own:
        thing = getattr(import_own(each.module, str(path)), each.name, None)
        if keras.saving.get_registered_object(each.key) is not None:  # by that module
            continue
        expected = "a function" if each.is_function else "a class with a method `from_config`"
        is_right = callable(thing) if each.is_function else isinstance(thing, type) and hasattr(thing, "from_config")
        if not is_right or imported(str(thing.__module__)) is not imported(each.module):
            raise UserError(f"{path}: expected {expected} {each.name} in module {each.module}, found none")
        if found.setdefault(each.key, thing) is not thing:
            raise UserError(f"{path}: {each.name}: two modules have a class of this name; register them with Keras")
    return found


def record_kinds(path: Path, kinds: Iterable[str]) -> None:
    """Record in a ``.keras`` file the names of the user's own gene kinds that its network is built of."""
    if not (names := sorted(set(kinds))):
        return
    partial = path.with_name(f".{path.stem.removeprefix('.')}.kinds.partial.keras")
    try:
        with zipfile.ZipFile(path) as before, zipfile.ZipFile(partial, "w") as after:
            for member in before.infolist():
                with before.open(member) as file, after.open(member.filename, "w", force_zip64=True) as copy:
                    if member.filename == _METADATA:
                        copy.write(json.dumps({**json.loads(file.read()), _KINDS: names}).encode())
                    else:
                        shutil.copyfileobj(file, copy)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def recorded_kinds(path: str | Path) -> list[str]:
    """Return the names of the user's own gene kinds that a file records, such as ``my_layers:Block``."""
    check_format(Path(path))
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(Path(path), archive)
            recorded = parse_json(archive.read(_METADATA), f"{path}: {_METADATA}").get(_KINDS, [])
    except Exception:  # noqa: BLE001  loading it says what is wrong
        return []
    names = recorded if isinstance(recorded, list) else []
    return [name for name in names if isinstance(name, str) and _REFERENCE.fullmatch(name)]


def check_format(path: Path) -> None:
    """Raise `UserError` if a file is not in Keras's format ``.keras``; Keras runs code that older formats hold."""
    if path.suffix != ".keras" or not path.is_file() or not zipfile.is_zipfile(path):
        raise UserError(f"{path}: expected a file in Keras format .keras, got another format or ending")


def _check_members(path: Path, archive: zipfile.ZipFile) -> None:
    names = [member.filename for member in archive.infolist()]
    if sorted(names) != sorted(_MEMBERS):
        got = shown(sorted(names))
        raise UserError(f"{path}: expected an archive of {', '.join(_MEMBERS)}, got {got}")
    for member in archive.infolist():
        most = _LARGEST_DESCRIPTION if member.filename != _WEIGHTS else member.compress_size * _MOST_PACKED + _ROOM
        if member.file_size > most:
            size = f"{member.file_size / 2**20:,.0f} MiB"
            raise UserError(f"{path}: {member.filename}: expected at most {most / 2**20:,.0f} MiB, got {size}")


def _check_description(path: Path, description: Any, registered: Collection[str]) -> list[OwnName]:
    """Compare each class and function that a description names with those of networks; return the user's own."""
    if not isinstance(description, Mapping) or "class_name" not in description:
        raise UserError(f"{path}: {_DESCRIPTION}: expected the description of a model, got {shown(description)}")
    outer = {key: value for key, value in description.items() if key != "compile_config"}  # is not read
    foreign = set()
    for named in _named(outer):
        name, module = named["class_name"], named.get("module")
        if name in _PLAIN:
            continue
        own = str(module or named.get("registered_name") or "").partition(">")[0]
        if not isinstance(name, str) or name in _REFUSED or name.startswith("__"):
            raise UserError(f"{path}: not loaded: has a layer that runs code or reads other files: {shown(name)}")
        if _is_of_keras(named, name, module) or str(named.get("registered_name")) in registered:
            continue
        is_function = name == "function"
        if own.partition(".")[0] in ("keras", "builtins"):
            what = "function" if is_function else "class"
            raise UserError(f"{path}: not loaded: names a {what} that is no part of a network: {own}, {shown(name)}")
        key = str(named.get("config") if is_function else named.get("registered_name") or name)
        foreign.add(OwnName(own or name, key.rpartition(">")[2] if is_function else name, key, is_function))
    return sorted(foreign)


def _named(description: Any) -> Iterator[Mapping[str, Any]]:
    """Yield each part of a description that names a class or a function."""
    stack = [description]  # own stack, because a description may be nested deeper than Python's
    while stack:
        part = stack.pop()
        if isinstance(part, Mapping):
            if "class_name" in part:
                yield part
            stack.extend(part.values())
        elif isinstance(part, list):
            stack.extend(part)


def _is_of_keras(named: Mapping[str, Any], name: str, module: Any) -> bool:
    registered = named.get("registered_name")
    if registered not in (None, name) and not (name == "function" and registered == named.get("config")):
        return False
    if name == "function":
        function = named.get("config")
        is_known = isinstance(function, str) and _FUNCTIONS.fullmatch(function) is not None
        return is_known and module in ("builtins", "keras.activations")
    if not isinstance(module, str) or not _CLASS.fullmatch(name):
        return False
    if module == "keras":
        return name in _FROM_KERAS
    return name in _OPERATIONS.get(module, ()) or bool(_MODULES.fullmatch(module))


def _check_weights(path: Path, file: Any, size: int) -> None:
    """Check that the weights are in the file itself, and not many more than it has bytes."""
    import h5py  # with Keras

    total, visited = 0, set()
    with h5py.File(file, "r") as weights:
        stack = [weights]
        while stack:
            group = stack.pop()
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise UserError(f"{path}: {_WEIGHTS}: {shown(name)}: expected weights, got a link elsewhere")
                item = group[name]
                place = h5py.h5o.get_info(item.id).addr
                if place in visited:
                    continue
                visited.add(place)
                if isinstance(item, h5py.Group):
                    stack.append(item)
                elif isinstance(item, h5py.Dataset):
                    if item.external or item.is_virtual:
                        raise UserError(f"{path}: {_WEIGHTS}: {shown(name)}: expected weights, got another file's")
                    total += item.size * item.dtype.itemsize if item.size else 0
                if total > size * _MOST_SPARSE + _ROOM or len(visited) > _MOST_OBJECTS:
                    raise UserError(f"{path}: {_WEIGHTS}: expected as many weights as it has bytes, got many more")
