"""Files of trained networks: what would run code or read other files is refused before Keras sees it."""

from __future__ import annotations

import importlib
import io
import json
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from menndl_dask import own_code
from menndl_dask.errors import UserError
from menndl_dask.genome.keras_model.network_file import check_network, load_network

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

_DENSE = {
    "module": "keras.layers", "class_name": "Dense", "registered_name": None,
    "config": {
        "units": 2, "activation": "softmax",
        "kernel_initializer": {"module": "keras.initializers", "class_name": "Zeros", "config": {}},
        "dtype": {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}},
    },
}  # fmt: skip
_ADD = {"module": "keras.src.ops.numpy", "class_name": "Add", "registered_name": "Add", "config": {}}
_TANH = {"module": "builtins", "class_name": "function", "config": "tanh", "registered_name": "function"}
_OWN = {"module": "my_layers", "class_name": "Block", "registered_name": "my_layers>Block", "config": {}}


def _weights(make: Any = None) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as opened:
        opened["layers/dense/vars/0"] = np.zeros((3, 2))
        if make is not None:
            make(opened)
    return file.getvalue()


def _network(path: Path, *layers: object, weights: bytes | None = None, more: dict[str, bytes] | None = None) -> Path:
    model = {
        "module": "keras", "class_name": "Sequential", "config": {"layers": [_DENSE, *layers]},
        "compile_config": {"loss": {"module": "my_losses", "class_name": "function", "config": "focal"}},
    }  # fmt: skip
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        members = {"metadata.json": b"{}", "config.json": json.dumps(model).encode(), "model.weights.h5": weights}
        for name, content in {**members, **(more or {})}.items():
            archive.writestr(name, _weights() if content is None else content)
    return path


def test_a_network_of_layers_operations_and_activations_is_read(tmp_path: Path) -> None:
    assert check_network(_network(tmp_path / "best.keras", _ADD, _TANH)) == []


@pytest.mark.parametrize(
    "layer",
    [
        {"module": "keras.layers", "class_name": "Lambda", "config": {}},
        {"module": "keras.src.layers.core.lambda_layer", "class_name": "Lambda", "config": {}},
        {"module": "keras.src.ops.core", "class_name": "Map", "config": {}},
        {"module": "keras.src.ops.core", "class_name": "WhileLoop", "config": {"cond": "exec", "body": "exec"}},
        {"module": "keras.src.ops.linalg", "class_name": "JVP", "config": {}},
        {"module": "keras.src.ops.function", "class_name": "Function", "config": {}},
        {"module": "keras.src.applications.imagenet_utils", "class_name": "Add", "config": {}},
        {"module": "keras.src.utils.file_utils", "class_name": "Add", "config": {}},
        {"class_name": "Lambda", "config": {}},
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/tmp/saved"}},
        {"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
        {"class_name": "__lambda__", "config": {"value": "4wE="}},
        {"class_name": "__typespec__", "config": []},
        {"module": "keras.utils", "class_name": "function", "config": "get_file", "registered_name": "get_file"},
        {"module": "builtins", "class_name": "function", "config": "exec", "registered_name": "function"},
        {"module": "keras.models", "class_name": "function", "config": "load_model", "registered_name": "function"},
        {"module": "keras.src.saving.serialization_lib", "class_name": "SafeModeScope", "config": {}},
        {"module": "keras.layers", "class_name": "deserialize", "config": {}},
        {"module": "keras", "class_name": "Variable", "config": {}},
        {"module": "keras.layers", "class_name": ["Dense"], "config": {}},
    ],
    ids=lambda layer: f"{layer.get('module')}.{layer['class_name']}.{layer['config']}",
)
@pytest.mark.parametrize("is_allowed", [False, True])
def test_a_layer_that_runs_code_or_reads_files_is_refused_whatever_is_named(
    tmp_path: Path, layer: dict[str, Any], is_allowed: bool
) -> None:
    own_code.allow(["keras", "builtins", "keras.utils"] if is_allowed else [])
    nested = {"module": "keras.layers", "class_name": "TimeDistributed", "config": {"layer": layer}}
    with pytest.raises(UserError, match="not loaded: ") as caught:
        check_network(_network(tmp_path / "best.keras", nested))
    assert "\n" not in str(caught.value)


def test_code_that_is_not_of_keras_is_imported_only_where_it_is_named(tmp_path: Path) -> None:
    path = _network(tmp_path / "best.keras", _OWN)
    with pytest.raises(UserError, match=r"the same command with --import my_layers$"):
        check_network(path)
    assert check_network(path, registered=["my_layers>Block"]) == []  # by a module that the user has imported
    own_code.allow(["my_layers"])
    assert [(own.reference, own.key) for own in check_network(path)] == [("my_layers:Block", "my_layers>Block")]


_BLOCK = """
import keras
from subprocess import Popen

class Block(keras.layers.Layer):
    def __init__(self, factor=1.0, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, given):
        return given * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}
"""


def _own_network(folder: Path) -> Path:
    """Save a network with an own layer, which is not registered with Keras; then forget its module."""
    (folder / "my_block.py").write_text(_BLOCK)
    module = importlib.import_module("my_block")
    image = keras.Input((4, 4, 1))
    keras.Model(image, keras.layers.Dense(2)(module.Block(3.0)(image))).save(folder / "own.keras")
    del sys.modules["my_block"]
    return folder / "own.keras"


def test_a_class_that_is_not_registered_is_found_in_the_module_that_the_file_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    path = _own_network(tmp_path)
    with pytest.raises(UserError, match=r"the same command with --import my_block$"):
        load_network(path)
    assert "my_block" not in sys.modules
    assert load_network(path, ["my_block:Block"]).layers[1].factor == 3.0
    # the user's program has imported it by now: that names it too
    monkeypatch.setattr("menndl_dask.own_code._ALLOWED", set())
    assert load_network(path).layers[1].factor == 3.0


def test_a_module_that_is_missing_or_lacks_the_class_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    path = _own_network(tmp_path)
    (tmp_path / "my_block.py").unlink()
    importlib.invalidate_caches()
    with pytest.raises(UserError, match=r"needs module my_block, which cannot be imported: .* one of PYTHONPATH$"):
        load_network(path, ["my_block"])
    monkeypatch.setitem(sys.modules, "my_block", ModuleType("my_block"))
    with pytest.raises(UserError, match="expected a class with a method `from_config` Block in module my_block"):
        load_network(path, ["my_block"])


def test_what_a_module_of_the_user_has_imported_itself_is_no_class_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_block.py").write_text(_BLOCK)
    popen = {"module": "my_block", "class_name": "Popen", "config": {"args": "ls"}, "registered_name": "Popen"}
    with pytest.raises(UserError, match="expected a class with a method `from_config` Popen in module my_block"):
        load_network(_network(tmp_path / "best.keras", popen), ["my_block"])
    del sys.modules["my_block"]


def test_operations_of_keras_in_the_graph_are_read(tmp_path: Path) -> None:
    image = keras.Input((8, 8, 4))
    tensor = keras.activations.relu(image * 2.0 - 1.0, negative_slope=0.1, max_value=6.0)
    tensor = tensor * keras.ops.sqrt(keras.ops.mean(tensor, (1, 2), keepdims=True) + 3.0)
    tensor = keras.ops.pad(tensor, ((0, 0), (1, 1), (1, 1), (0, 0)))[:, 1:, ::2]
    tensor = keras.ops.stop_gradient(keras.ops.cast(keras.ops.cast(tensor, "float16"), "float32"))
    tensor = tensor / (1 + keras.ops.norm(tensor, axis=-1, keepdims=True))
    inner = keras.Sequential([keras.Input(tensor.shape[1:]), keras.layers.Conv2D(3, 1)])
    model = keras.Model(image, inner(tensor))
    model.save(tmp_path / "own.keras")
    given = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype("float32")
    found = load_network(tmp_path / "own.keras").predict_on_batch(given)
    assert np.allclose(found, model.predict_on_batch(given), atol=1e-6)


def _external(file: h5py.File) -> None:
    file.create_dataset("more", (10,), "u1", external=[("/etc/passwd", 0, 10)])


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((10,), "u1")
    layout[:] = h5py.VirtualSource("/etc/passwd.h5", "secret", (10,))
    file.create_virtual_dataset("more", layout)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda file: file.__setitem__("more", h5py.ExternalLink("/etc/secret.h5", "/x")), "got a link elsewhere"),
        (lambda file: file.__setitem__("more", h5py.SoftLink("/more")), "got a link elsewhere"),
        (_external, "got another file's"),
        (_virtual, "got another file's"),
        (lambda file: file.create_dataset("more", (10**12,), "f4", chunks=(1000,)), "got many more"),
    ],
)
def test_weights_that_are_elsewhere_or_far_too_many_are_refused(tmp_path: Path, make: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        check_network(_network(tmp_path / "best.keras", weights=_weights(make)))


def test_groups_that_contain_themselves_do_not_keep_the_check_busy(tmp_path: Path) -> None:
    check_network(_network(tmp_path / "best.keras", weights=_weights(lambda file: file.__setitem__("more", file["/"]))))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"../../escaped": b""}, "expected an archive of metadata.json"),
        ({"assets/vocabulary.txt": b""}, "expected an archive of metadata.json"),
        ({"config.json": b" " * (65 * 2**20)}, "config.json: expected at most 64 MiB"),
        ({"config.json": b"[" * 100_000}, "nested too deeply"),
        ({"config.json": b"{}"}, "expected the description of a model"),
        ({"model.weights.h5": b"not HDF5"}, "cannot be read as a trained network"),
    ],
)
def test_an_archive_with_other_members_or_sizes_is_refused(tmp_path: Path, more: dict[str, bytes], told: str) -> None:
    with pytest.raises(UserError, match=told):
        check_network(_network(tmp_path / "best.keras", more=more))


def test_older_formats_are_refused_also_those_that_look_like_an_archive(tmp_path: Path) -> None:
    for path in (_network(tmp_path / "best.h5"), tmp_path):
        with pytest.raises(UserError, match=r"expected a file in Keras format \.keras"):
            check_network(path)
