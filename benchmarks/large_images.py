"""Large images, few images and volumes: a search with patches beside the same search on tiles that were cut by hand.

    python benchmarks/large_images.py gala --data FOLDER      # train.npz and test.npz: volumes of 50 × 100 × 200 voxels
    python benchmarks/large_images.py landsat --data FILE     # 36 Landsat 8 patches of 256 × 256 pixels, 8 bands
    python benchmarks/large_images.py stem                    # 24 simulated micrographs of 512 × 512 pixels
    python benchmarks/large_images.py memory                  # a search on 20 GB, of which few chunks exist

Each case types what a user types: `menndl convert` and `menndl search`, without other options than those given here
after `--`. The tiles are of the size of the plan's patches, cut without overlap, with the image as group. The best
network of each search predicts the whole test images through `menndl predict`, and is scored on each image by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import zarr

from menndl_dask.run.run import Run
from menndl_dask.terminal import say

_ROOT = Path(__file__).resolve().parents[1]
_GB = 1e9
_STEM_IMAGES, _STEM_SIZE = 24, 512
_LARGE = (200, 10_000, 10_000)  # samples, y, x of one byte: 20 GB
_WRITTEN = 6  # samples of which some chunks exist


class PeakMemory:
    """Peak anonymous memory of the processes of a command, in bytes, by what they are; without the page cache."""

    def __init__(self, process: int) -> None:
        self.peaks = {"driver and workers": 0, "one trainer": 0}
        self._process = psutil.Process(process)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(0.5):
            others = 0
            with contextlib.suppress(psutil.Error):
                for each in [self._process, *self._process.children(recursive=True)]:
                    with contextlib.suppress(psutil.Error, OSError, StopIteration):
                        used = _anonymous(each.pid)
                        if any("trainer" in word or "model_process" in word for word in each.cmdline()):
                            self.peaks["one trainer"] = max(self.peaks["one trainer"], used)
                        else:
                            others += used
                self.peaks["driver and workers"] = max(self.peaks["driver and workers"], others)

    def end(self) -> dict[str, int]:
        """Stop watching and return the peaks."""
        self._ended.set()
        self._thread.join()
        return self.peaks


def _anonymous(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("RssAnon:"))) * 1024


def menndl(*words: object) -> tuple[str, float, dict[str, int]]:
    """Run a command of menndl; return what it printed, the seconds, and the peak memory of its processes."""
    typed = [str(word) for word in words]
    say(f"$ {shlex.join(['menndl', *typed])}")
    started = time.monotonic()
    command = [sys.executable, "-m", "menndl_dask.cli", *typed]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        memory = PeakMemory(process.pid)
        assert process.stdout is not None
        output = process.stdout.read()
    peaks = memory.end()
    if process.returncode != 0:
        say(output[-4000:])
        raise SystemExit(f"menndl {typed[0]} ended with {process.returncode}")
    return output, time.monotonic() - started, peaks


def images_of(store: Path) -> Iterator[tuple[int, Any, Any]]:
    """Yield number, image and label of each sample of a store, in any of its layouts."""
    group = zarr.open_group(store, mode="r")
    if "samples" in group:
        for number, (_, each) in enumerate(sorted(group["samples"].groups())):
            yield number, each["image"], each["label"]
    elif "sample" in (group["image"].metadata.dimension_names or ()):
        for number in range(group["image"].shape[0]):
            yield number, group["image"][number], group["label"][number]
    else:
        yield 0, group["image"][:], group["label"][:]


def cut_tiles(store: Path, target: Path, size: Sequence[int]) -> Path:
    """Cut the images of a store into tiles without overlap, as a user would by hand; the image is their group."""
    import xarray as xr

    source = zarr.open_group(store, mode="r")
    dims = [name for name in source["image"].metadata.dimension_names if name != "sample"]
    space = [place for place, name in enumerate(dims) if name != "channel"]
    splits = source["split"][:] if "split" in source else None
    images, labels, of, split = [], [], [], []
    for number, image, label in images_of(store):
        counts = [label.shape[axis] // n for axis, n in enumerate(size)]
        for place in np.ndindex(*counts):
            spans = [slice(p * n, (p + 1) * n) for p, n in zip(place, size, strict=True)]
            index: list[slice] = [slice(None)] * image.ndim
            for axis, span in zip(space, spans, strict=True):
                index[axis] = span
            images.append(image[tuple(index)])
            labels.append(label[tuple(spans)])
            of.append(number)
            if splits is not None:
                split.append(str(splits[number]))
    coordinates: dict[str, Any] = {"image_number": ("sample", np.array(of))}
    if split:
        coordinates["split"] = ("sample", np.array(split, dtype=object))
    label_dims = ("sample", *[dims[place] for place in space])
    attributes = dict(source["label"].attrs)
    arrays = {"image": (("sample", *dims), np.stack(images)), "label": (label_dims, np.stack(labels), attributes)}
    xr.Dataset(arrays, coordinates).to_zarr(target, zarr_format=3, consolidated=False)
    return target


def scores(model: Path, store: Path, run: Path, work: Path) -> list[list[float]]:
    """Return the intersection over union of each class in each whole test image; NaN for a class that is not there."""
    predicted = work / f"{run.name}-predicted.zarr"
    shutil.rmtree(predicted, ignore_errors=True)
    menndl("predict", model, store, predicted)
    group = zarr.open_group(store, mode="r")
    named = [str(name) for name in group["split"][:]] if "split" in group else []
    test = np.flatnonzero(np.array(named) == "test").tolist() or np.load(run / "splits.npz")["test"].tolist()
    found = []
    pairs = zip(images_of(store), _predictions(predicted), strict=True)
    problem = Run(run).problem
    assert problem is not None
    for (number, _, label), prediction in pairs:
        if number in test:
            truth = np.asarray(label)
            row = []
            for kind in range(problem.facts.outputs):
                both = np.sum((truth == kind) & (prediction == kind))
                either = np.sum(((truth == kind) | (prediction == kind)) & (truth != problem.ignore))
                row.append(float(both / either) if either else float("nan"))
            found.append(row)
    return found


def _predictions(store: Path) -> Iterator[Any]:
    group = zarr.open_group(store, mode="r")
    if "samples" in group:
        yield from (each["prediction"][:] for _, each in sorted(group["samples"].groups()))
    elif "sample" in (group["prediction"].metadata.dimension_names or ()):
        yield from (group["prediction"][number] for number in range(group["prediction"].shape[0]))
    else:
        yield group["prediction"][:]


def search(store: Path, run: Path, more: Sequence[str]) -> dict[str, Any]:
    """Search on a store, and return what a user would want to know of the search."""
    output, seconds, peaks = menndl("search", store, "--run", run, *more)
    say(output[-3000:])
    done = list(Run(run).evaluations)
    return {
        "networks an hour": round(3600 * len(done) / seconds),
        "succeeded": f"{sum(result.succeeded for _, result in done)} of {len(done)}",
        "out of memory": sum(result.failure == "out_of_memory" for _, result in done),
        **{f"peak of {name}, GB": round(peak / _GB, 2) for name, peak in peaks.items()},
    }


def compare(source: Path, work: Path, more: Sequence[str], *, convert: bool, tiles: bool) -> None:
    """Search with patches and with tiles, and print a table."""
    store = source
    if convert:
        store = work / "images.zarr"
        say(menndl("convert", source, store)[0])
    say(menndl("check", store)[0])
    rows = {}
    run = work / "patches"
    rows["patches"] = search(store, run, more)
    problem = Run(run).problem
    assert problem is not None
    rows["patches"]["IoU by class"] = _spread(scores(run / "best.keras", store, run, work))
    if tiles:
        cut = cut_tiles(store, work / "tiles.zarr", problem.facts.input_shapes[0][:-1])
        budget = problem.budget
        same = ["--epochs", budget.epochs, "--batch-size", budget.batch_size, "--patch", "whole"]
        alone = ["--group", "image_number", *more, "--retrain", "0"]  # standard networks are trained on patches only
        rows["tiles"] = search(cut, work / "tiles", [*map(str, same), *alone])
        rows["tiles"]["IoU by class"] = _spread(scores(work / "tiles" / "best.keras", store, run, work))
    for name, row in rows.items():
        say(f"\n{name}")
        for key, value in row.items():
            say(f"  {key:<32} {value}")


def _spread(found: Sequence[Sequence[float]]) -> str:
    """Return the mean over the images, and the lowest and the highest value, of each class."""
    values = np.array(found)
    known = [v[~np.isnan(v)] for v in values.T]
    each = [f"{v.mean():.3f} ({v.min():.3f} to {v.max():.3f})" for v in known if len(v)]
    return f"{', '.join(each)} in {len(values)} images"


def write_large(target: Path) -> Path:
    """Write the metadata of a store of 20 GB, and some of its chunks."""
    group = zarr.open_group(target, mode="w")
    rng = np.random.default_rng(0)
    settings = {"shape": _LARGE, "chunks": (1, 1000, 1000), "dtype": "uint8", "dimension_names": ("sample", "y", "x")}
    image = group.create_array("image", **settings)
    label = group.create_array("label", attributes={"classes": ["background", "spot"]}, **settings)
    for sample in range(0, _LARGE[0], _LARGE[0] // _WRITTEN):
        truth = rng.random((1000, 1000)) < 0.1
        label[sample, 2000:3000, 2000:3000] = truth.astype("uint8")
        values = (100 * truth + rng.normal(50, 20, truth.shape)).clip(0, 255)
        image[sample, 2000:3000, 2000:3000] = values.astype("uint8")
    return target


def stem(work: Path) -> Path:
    """Simulate micrographs of 512 × 512 pixels."""
    sys.path.insert(0, str(_ROOT / "workflows"))
    from stem_material import MATERIALS
    from stem_simulation import write_images

    return write_images(work / "stem.zarr", MATERIALS["graphene"], images=_STEM_IMAGES, size=_STEM_SIZE, seed=0)


def main() -> None:
    """Run one case and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=("gala", "landsat", "stem", "memory"))
    parser.add_argument("--data", type=Path, metavar="PATH", help="of gala: the folder; of landsat: the file")
    parser.add_argument("--work", type=Path, metavar="DIR", help="for stores and runs (default: temporary)")
    parser.add_argument("--no-tiles", action="store_true", help="without the search on tiles")
    typed = sys.argv[1:]
    place = typed.index("--") if "--" in typed else len(typed)
    given, more = parser.parse_args(typed[:place]), typed[place + 1 :]
    if given.case in ("gala", "landsat") and given.data is None:
        parser.error(f"{given.case}: expected --data")
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        if given.case == "memory":
            short = ["--evaluations", "3", "--steps", "20", "--retrain", "0", "--workers", "1"]
            found = search(write_large(work / "large.zarr"), work / "run", [*short, *more])
            for name, value in found.items():
                say(f"{name:<32} {value}")
            return
        make: Callable[[Path], Path] = stem if given.case == "stem" else lambda _: given.data
        compare(make(work), work, more, convert=given.case != "stem", tiles=not given.no_tiles)


if __name__ == "__main__":
    main()
