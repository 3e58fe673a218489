"""The map between Keras models and genomes, tried on the networks that people use; writes ``two_way_map.md``.

Each network of Keras's applications, standard networks, networks that MENNDL published and networks written in plain
Keras get random weights. They are encoded with these, built again, and compared. A few networks share a process::

    python benchmarks/two_way_map.py results.json                # all that are not in the file yet
    python benchmarks/two_way_map.py results.json ResNet50 ViT   # only these
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import plain_networks  # beside this script

_APPLICATIONS = {  # the smallest image that each one takes, but at least 32 pixels
    "VGG16": 32, "VGG19": 32, "ResNet50": 32, "ResNet101": 32, "ResNet152": 32, "ResNet50V2": 32, "ResNet101V2": 32,
    "ResNet152V2": 32, "DenseNet121": 32, "DenseNet169": 32, "DenseNet201": 32, "InceptionV3": 75,
    "InceptionResNetV2": 75, "Xception": 71, "MobileNet": 32, "MobileNetV2": 32, "MobileNetV3Small": 32,
    "MobileNetV3Large": 32, "NASNetMobile": 32, "NASNetLarge": 32,
    **{f"EfficientNetB{i}": 32 for i in range(8)},
    **{f"EfficientNetV2{i}": 32 for i in ("B0", "B1", "B2", "B3", "S", "M", "L")},
    **{f"ConvNeXt{i}": 32 for i in ("Tiny", "Small", "Base", "Large", "XLarge")},
}  # fmt: skip
_IMAGE, _VOLUME = (64, 64, 3), (16, 32, 32, 1)  # on which standard networks are tried
_OF_VOLUMES = ("resnet_small", "unet_small", "unet_3d", "unet_planned")
_PAGE = Path(__file__).with_suffix(".md")
_CLASSES = 10
_TOGETHER = 6  # networks in a process


def main() -> None:
    """Try the networks that are asked for, and write the page of all results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="a JSON file, in which results are kept")
    parser.add_argument("names", nargs="*", help="networks; by default all that the file lacks")
    parser.add_argument("--here", action="store_true", help="try the networks in this process, and print each result")
    parser.add_argument("--without-flops", action="store_true", help="do not count FLOPs with the framework's profiler")
    parser.add_argument("--write", action="store_true", help="only write the page")
    given = parser.parse_args()
    if given.here:
        for name in given.names:
            print(json.dumps([name, _tried(name, flops=not given.without_flops)]), flush=True)
        return
    found = json.loads(given.results.read_text()) if given.results.exists() else {}
    names = [] if given.write else given.names or [name for name in _networks() if name not in found]
    for start in range(0, len(names), _TOGETHER):
        for name, result in _tried_elsewhere(given.results, names[start : start + _TOGETHER], given.without_flops):
            found[name] = result
            given.results.write_text(json.dumps(found, indent=1))
            print(name, result, flush=True)
    _PAGE.write_text(_page(found), encoding="utf-8")


def _tried_elsewhere(results: Path, names: Sequence[str], without_flops: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the results of networks that are tried in a process of their own, whose memory is freed then."""
    if not names:
        return
    command = [sys.executable, __file__, "--here", *["--without-flops"] * without_flops, str(results), *names]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(Path(__file__).parents[1])}
    missing = list(names)
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                if line.startswith("["):
                    name, result = json.loads(line)
                    missing.remove(name)
                    yield name, result
        errors.seek(0)
        last = (errors.read().strip().splitlines() or ["ended"])[-1]
    if missing:
        yield missing[0], {"reason": f"the process ended: {last}"}
        yield from _tried_elsewhere(results, missing[1:], without_flops)


def _networks() -> dict[str, str]:
    """Return all networks, and the group of each."""
    groups = {
        "Keras applications": list(_APPLICATIONS),
        "Standard networks": list(_standard_networks()),
        "Networks that MENNDL published": list(plain_networks.MENNDL),
        "Other networks in plain Keras": list(plain_networks.NETWORKS),
    }
    return {name: group for group, names in groups.items() for name in names}


def _standard_networks() -> dict[str, tuple[str, Any]]:
    """Return the name and the problem of each standard network, by its title."""
    from menndl_dask.space.standard.standard import STANDARD_NETWORKS

    found = {}
    for name, network in STANDARD_NETWORKS.items():
        for shape in (_IMAGE, _VOLUME) if name in _OF_VOLUMES else (_IMAGE,):
            if (problem := _problem(network.tasks[0], [shape], 3)).rank in network.ranks:
                both = name in _OF_VOLUMES and 2 in network.ranks and shape == _VOLUME
                again = " of standard networks" * (network.title in _APPLICATIONS)
                found[network.title + again + ", of volumes" * both] = name, problem
    return found


def _model(name: str) -> Any:
    """Return a network as a Keras model."""
    import keras

    if name in _APPLICATIONS:
        size = _APPLICATIONS[name]
        build = getattr(keras.applications, name)
        return build(weights=None, input_shape=(size, size, 3), classes=_CLASSES)
    made = {**plain_networks.MENNDL, **plain_networks.NETWORKS}
    if name in made:
        return made[name]()
    from menndl_dask import decode
    from menndl_dask.space.standard.standard import named_network

    standard, problem = _standard_networks()[name]
    return decode(named_network(standard, problem)[1], problem)


def _problem(task: str, shapes: Sequence[tuple[int, ...]], outputs: int, scales: Sequence[Any] = ()) -> Any:
    """Return a problem for images of these shapes, normalised by these scales and offsets."""
    import numpy as np

    from menndl_dask import Facts, Problem

    mean, variance = [], []
    for shape, (scale, offset) in zip(shapes, scales or [(1.0, 0.0)] * len(shapes), strict=True):
        scale, offset = (np.broadcast_to(np.asarray(each, float), shape[-1:]) for each in (scale, offset))
        mean.append(tuple((-offset / scale).tolist()))
        variance.append(tuple((1 / scale**2).tolist()))
    facts = Facts(input_shapes=tuple(shapes), outputs=outputs, mean=tuple(mean), variance=tuple(variance))
    if task == "regression":
        facts = replace(facts, label_mean=(0.0,) * outputs, label_variance=(1.0,) * outputs)
    return Problem("nowhere.zarr", task, facts, inputs=tuple(f"view_{v}" for v in range(len(shapes))))


def _tried(name: str, *, flops: bool) -> dict[str, Any]:
    """Encode a network with its weights, build it again, and compare."""
    import keras
    import numpy as np

    from menndl_dask import cost_of, decode
    from menndl_dask.errors import MenndlError
    from menndl_dask.genome.keras_model.encoder import read_network

    keras.backend.clear_session()
    model = _model(name)
    rng = np.random.default_rng(0)
    _randomise(model, rng)
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    result: dict[str, Any] = {"inputs": shapes, "parameters": model.count_params(), "commit": _commit()}
    start = time.perf_counter()
    try:
        encoded = read_network(model, weights=True)
    except MenndlError as error:
        return {**result, "reason": str(error)}
    answer = tuple(model.output_shape[1:])
    function = encoded.weights.function
    task = "segmentation" if len(answer) > 1 else "regression" if function == "linear" else "classification"
    problem = _problem(task, shapes, answer[-1], encoded.scales)
    result |= {"encoding_s": time.perf_counter() - start, "notes": list(encoded.notes), "task": task}
    again = decode(encoded.genome, problem, weights=encoded.weights)
    images = [rng.uniform(0, 1, (2, *shape)).astype("float32") for shape in shapes]
    # from 0 to 255 where the model's first layers expect that
    wide = [255 if np.max(np.abs(scale)) < 0.1 else 1 for scale, _ in encoded.scales]
    images = [image * most for image, most in zip(images, wide, strict=True)]
    given = images if len(images) > 1 else images[0]
    first, second = (np.asarray(each(given, training=False)) for each in (model, again))
    cost = cost_of(encoded.genome, problem)
    folded = getattr(encoded.genome, "folded", lambda: encoded.genome)()
    return result | {
        "flat": len(encoded.genome),
        "folded": len(folded),
        "again": _same_again(again, encoded.genome),
        "parameters_again": again.count_params(),
        "cost_parameters": cost.parameters,
        "same_sizes": _sizes(model) == _sizes(again),
        "difference": float(np.max(np.abs(first - second)) / np.max(np.abs(first))),
        "finite": bool(np.all(np.isfinite(first))),
        "spread": float(np.std(first)),
        "flops": cost.flops_forward,
        "framework_flops": _framework_flops(again, shapes) if flops else 0,
    }


def _commit() -> str:
    """Return which state of the code is tried."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _same_again(model: Any, genome: Any) -> bool:
    from menndl_dask import encode

    return bool(encode(model) == genome)


def _weights(model: Any) -> list[Any]:
    """Return the weights of a model, but for those of its normalisation of images."""
    return [each for each in model.weights if each.path.rpartition("/")[2] not in ("mean", "variance", "count")]


def _sizes(model: Any) -> list[int]:
    import numpy as np

    return sorted(int(np.prod(weight.shape)) for weight in _weights(model))


def _randomise(model: Any, rng: Any) -> None:
    """Give all weights random values, the moving statistics too, with which activations stay finite."""
    import numpy as np

    for weight in _weights(model):
        shape, name = tuple(weight.shape), weight.path.rpartition("/")[2]
        if name in ("gamma", "moving_variance", "scale"):
            value = rng.uniform(0.8, 1.2, shape)
        elif name in ("beta", "moving_mean", "bias"):
            value = rng.uniform(-0.1, 0.1, shape)
        else:
            fan = max(1, int(np.prod(shape[:-1])))
            value = rng.random(shape, "float32")
            value = (2 * value - 1) * np.float32(np.sqrt(4 / fan))
        weight.assign(value.astype("float32"))


def _framework_flops(model: Any, shapes: Sequence[tuple[int, ...]]) -> int:
    """Return the FLOPs of the forward pass for one sample, as TensorFlow's profiler counts them."""
    import tensorflow as tf

    specs = [tf.TensorSpec((1, *shape), tf.float32) for shape in shapes]
    function = tf.function(lambda *images: model(list(images) if len(images) > 1 else images[0], training=False))
    graph = function.get_concrete_function(*specs).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder(tf.compat.v1.profiler.ProfileOptionBuilder.float_operation())
    profile = tf.compat.v1.profiler.profile(graph, options=options.with_empty_output().build())
    return int(profile.total_float_ops)


def _page(found: dict[str, Any]) -> str:
    """Return the page with a table for each group of networks."""
    commits = sorted({result.get("commit", "unknown") for result in found.values()})
    lines = _INTRODUCTION.replace("COMMIT", " and ".join(commits)).splitlines()
    groups: dict[str, list[str]] = {}
    for name, group in _networks().items():
        if name in found:
            groups.setdefault(group, []).append(name)
    fine = {name for name, result in found.items() if _is_equal(result)}
    missing = [name for name in _networks() if name not in found]
    for group, names in groups.items():
        equal = sum(name in fine for name in names)
        lines += ["", f"## {group}", "", f"{equal} of {len(names)} encode with equal predictions.", "", *_HEADER]
        lines += [_row(name, found[name]) for name in names]
        if reasons := [name for name in names if name not in fine]:
            lines += ["", "Those that do not:", "", *(f"* {name}: {_reason(found[name])}" for name in reasons)]
    if missing:
        lines += ["", f"Not tried: {', '.join(missing)}."]
    return "\n".join(lines) + "\n"


def _is_equal(result: dict[str, Any]) -> bool:
    return result.get("difference", 1.0) <= 1e-5 and bool(result.get("finite")) and bool(result.get("again"))


def _reason(result: dict[str, Any]) -> str:
    return str(result.get("reason") or f"predictions differ by {result['difference']:.1e}")


def _row(name: str, result: dict[str, Any]) -> str:
    size = ", ".join("×".join(map(str, shape)) for shape in dict.fromkeys(map(tuple, result.get("inputs", []))))
    views = len(result.get("inputs", []))
    size = f"{views} of {size}" if views > 1 else size
    if "difference" not in result:
        return f"| {name} | {size} | {result.get('parameters', 0):,} | no | | | | | |"
    extra = result["parameters_again"] - result["parameters"]
    parameters = f"{result['parameters']:,}" + (f" {'+' if extra > 0 else '−'} {abs(extra):,}" if extra else "")
    cost = "equal" if result["cost_parameters"] == result["parameters_again"] else f"{result['cost_parameters']:,}"
    counted = result["framework_flops"]
    ratio = f" ({result['flops'] / counted:.2f})" if counted else ""
    arrays = "equal" if result["same_sizes"] else "others"
    difference = f"{result['difference']:.0e}" if result["difference"] else "0"
    cells = [name, size, parameters, arrays, cost, difference, result["flat"], result["folded"]]
    return f"| {' | '.join(map(str, cells))} | {result['flops']:.3g}{ratio} |"


_HEADER = (
    "| network | image | parameters | arrays | by cost | largest difference | genes | with cells | FLOPs (ratio) |",
    "|---|---|---:|---|---|---:|---:|---:|---:|",
)
_INTRODUCTION = """\
# The two-way map on the networks that people use

Made by [two_way_map.py](two_way_map.py) at commit COMMIT on 30 November 2026, on two cores of a virtual machine, with
Keras 3.15.1 and TensorFlow 2.21.0.

Each network has random weights, moving statistics included. It was encoded with its weights
(`encode(model, weights=True)`), built again from genome and weights (`decode`), and both models predicted two random
images. The network that was built again was also encoded again, and gave an equal genome.

* *parameters*: those of the model, as Keras counts them; after a sign what the network that was built again has more or
  less. It has more where a head was added behind an end that `decode` does not build, and where layers that shared
  weights now have their own. It has less where the model's normalisation of images was counted (EfficientNet).
* *arrays*: whether both models have weights of the same sizes, array by array; others where layers were added. The
  shape of each layer's output is compared when a model is encoded.
* *by cost*: whether the cost of the genome has as many parameters as Keras.
* *largest difference* of predictions, relative to the largest one.
* *genes* of the genome, layer by layer, and with cells for repeated layers and blocks.
* *FLOPs* of the forward pass by the cost of the genome and, where it was measured, their ratio to those of TensorFlow's
  profiler. It leaves out activations, and a part of grouped convolutions (ShuffleNet, SE-ResNeXt) on a CPU.
"""


if __name__ == "__main__":
    main()
