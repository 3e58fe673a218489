"""Kinds of inputs: valid files, how they are damaged, and the commands that read them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from menndl_dask.cluster.cluster import load_cluster  # not the one that stops where workers would be started
from tests.fuzz.mutations import as_json, mutated_bytes, mutated_value, odd

Rng = np.random.Generator
Words = Sequence[str]
FOREIGN = "foreign"  # folder with what commands must not change
OUTPUT = "out"  # folder where commands may write


@dataclass(frozen=True)
class Kind:
    """A kind of inputs.

    Parameters
    ----------
    name
        Of the table.
    prepare
        Writes valid files into the current directory, once.
    damage
        Damages a copy of them in the current directory, and returns the command lines that read it, or functions.
    share
        Of the inputs of a campaign.
    """

    name: str
    prepare: Callable[[], None]
    damage: Callable[[Rng], list[Words | Callable[[], object]]]
    share: float = 1.0


KINDS: dict[str, Kind] = {}


def kind(name: str, prepare: Callable[[], None], share: float = 1.0) -> Callable[[Any], Any]:
    """Return a decorator that adds a kind of inputs."""

    def add(damage: Callable[[Rng], list[Any]]) -> Any:
        KINDS[name] = Kind(name, prepare, damage, share)
        return damage

    return add


def damaged(path: Path, rng: Rng) -> None:
    """Replace the bytes of a file by damaged ones; sometimes the file by something that is no file."""
    if rng.random() < 0.04:
        odd_file(path, rng)
    else:
        path.write_bytes(mutated_bytes(path.read_bytes(), rng))


def odd_file(path: Path, rng: Rng) -> None:
    """Put something that is no readable file in the place of a file or folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    what = int(rng.integers(8))
    if what == 0:
        path.mkdir()
    elif what == 1:
        os.mkfifo(path)
    elif what == 2:
        path.symlink_to(path.name)  # leads to itself
    elif what == 3:
        path.symlink_to("/dev/zero")
    elif what == 4:
        path.symlink_to("nowhere")
    elif what == 5:
        path.write_bytes(b"")
    elif what == 6:
        path.symlink_to(Path.cwd())
    # else it is missing


# --- profiles -------------------------------------------------------------------------------------------------------


def _profiles() -> None:
    clusters = Path(__file__).resolve().parents[2] / "clusters"
    for path in clusters.glob("*.yaml"):
        shutil.copy(path, path.name)


@kind("profiles", _profiles, 3)
def _profile(rng: Rng) -> list[Words]:
    names = sorted(path.name for path in Path().glob("*.yaml"))
    path = Path(names[rng.integers(len(names))])
    if rng.random() < 0.4:
        damaged(path, rng)
    else:
        values = mutated_value(
            yaml.safe_load(path.read_text()), rng, ("01:00:00", "8GB", "slurm", "scheduler", "tcp://x")
        )
        path.write_text(_yaml(values), errors="replace")
    if rng.random() < 0.02:
        path.write_text(
            "a: &a [x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(8))
        )
    return [["cluster", "script" if rng.random() < 0.5 else "check", str(path)]]


def _yaml(values: Any) -> str:
    try:
        return str(yaml.safe_dump(values, allow_unicode=True))
    except (RecursionError, yaml.YAMLError):
        return "[" * 3000


# --- runs -----------------------------------------------------------------------------------------------------------


def _run() -> None:
    from menndl_dask.data.data import open_problem
    from menndl_dask.genome.individual import Individual
    from menndl_dask.problem import Budget
    from menndl_dask.result import Result
    from menndl_dask.run.layout import folder_of
    from menndl_dask.run.recorder import STANDARD_ID, Compared
    from menndl_dask.search.islands.status import IslandStatus
    from tests import stores
    from tests.runs import made_up, recorder

    stores.write(stores.segmentation(12), Path("data.zarr"))
    of = open_problem("data.zarr", budget=Budget(epochs=2))
    of = replace(of, data="data.zarr")
    for run in (Path("run"), Path("wide"), folder_of(Path("wide"), 0), folder_of(Path("wide"), 1)):
        words = ["search", "data.zarr", "--evaluations", "8"]
        with recorder(run, of, command="menndl search data.zarr", arguments=words) as opened:
            opened.started(evaluations=8, hours=None, command="menndl search data.zarr", arguments=words)
            evaluations = made_up(8)
            opened.asked([one for one, _ in evaluations])
            opened.completed(evaluations)
            opened.note("2 workers joined; 2 in all")
            best = next((one, result) for one, result in evaluations if result.succeeded)
            opened.compared(
                Compared("best", best[0], 1.0, Result(0.7, costs={"parameters": 9.0}, metrics={"test": 0.6}))
            )
            standard = Individual(STANDARD_ID, best[0].genome)
            opened.compared(Compared("U-Net", standard, 1.0, Result(0.6, costs={"parameters": 9.0})))
            opened.ended()
        folder = run / "networks" / best[0].name
        folder.mkdir(parents=True)
        (folder / "genome.json").write_text(json.dumps(best[0].genome.to_dict()))
        IslandStatus(4, 1, 2, {"error": 1}, 0.5, 3, (best,), 7).write(run)
        np.savez_compressed(run / "splits.npz", train=np.arange(4), validation=np.arange(2), test=np.arange(2))
    detached = {"profile": "slurm.yaml", "command": ["python", "-m", "menndl_dask.cli"], "directory": "."}
    Path("run/detached.json").write_text(json.dumps(detached))
    Path("run/drivers.txt").write_text("job 17\nbegan 0\njob 18\nbegan 4\n")
    Path("run/stop").write_text("a user on a machine\n")
    Path("run/.lock").write_text("host, process 7\n")
    Path("slurm.yaml").write_text(
        "kind: slurm\nshared_directory: /tmp\njobqueue: {cores: 8, memory: 8GB, walltime: '01:00:00', interface: lo}\n"
    )


_LOOKED_AT = ("status", "report", "status", "doctor", "stop", "resume", "retrain")


def _commands(rng: Rng, run: str = "run") -> list[Any]:
    chosen = str(rng.choice(_LOOKED_AT))
    return [[chosen, run]] if rng.random() < 0.9 else [lambda: _read_run(run)]


def _read_run(run: str) -> None:
    """Read a run as a script does."""
    from menndl_dask import Run

    found = Run(run)
    _ = found.problem, found.settings, found.notes, found.migrations, found.comparisons, found.islands
    list(found.evaluations)
    found.to_xarray()
    found.best()


@kind("run.yaml", _run, 2)
def _settings(rng: Rng) -> list[Any]:
    path = Path("run/run.yaml")
    if rng.random() < 0.3:
        damaged(path, rng)
    else:
        values = mutated_value(yaml.safe_load(path.read_text()), rng, ("segmentation", "regression", "accuracy"))
        path.write_text(_yaml(values), errors="replace")
    return _commands(rng)


@kind("journals", _run, 4)
def _journal(rng: Rng) -> list[Any]:
    from menndl_dask.run.journal import line_of

    run = str(rng.choice(["run", "wide"]))
    path = Path(run if run == "run" else "wide/islands/00", "journal.jsonl")
    if rng.random() < 0.35:
        damaged(path, rng)
        return _commands(rng, run)
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    for event in lines:
        event.pop("crc")
    for _ in range(int(rng.choice([1, 1, 3]))):
        place = int(rng.integers(len(lines)))
        lines[place] = mutated_value(lines[place], rng, ("told", "asked", "note", "compared", "error", "infeasible"))
    with path.open("wb") as file:
        for event in lines:
            try:
                file.write(line_of(event) if isinstance(event, dict) else as_json(event, rng) + b"\n")
            except (RecursionError, ValueError, UnicodeEncodeError):
                file.write(b'{"event":"note","time":0,"message":' + b"[" * 5000 + b"\n")
    return _commands(rng, run)


@kind("other files of a run", _run, 3)
def _others(rng: Rng) -> list[Any]:
    names = ("run/detached.json", "run/drivers.txt", "run/stop", "run/.lock", "run/splits.npz", "run/island.json",
             "run/networks", "wide/islands/00/island.json", "wide/islands/00", "slurm.yaml")  # fmt: skip
    path = Path(str(rng.choice(names)))
    if path.suffix == ".json" and rng.random() < 0.7:
        path.write_bytes(as_json(mutated_value(json.loads(path.read_text()), rng), rng))
    elif path.is_dir():
        if rng.random() < 0.5:
            odd_file(path, rng)
        else:
            (path / str(rng.choice(["99", "²", "٣", "-1", "1" * 30, "é"]))).mkdir(parents=True, exist_ok=True)
    else:
        damaged(path, rng)
    return _commands(rng, "wide" if "wide" in str(path) else "run")


@kind("genomes", _run, 5)
def _genome(rng: Rng) -> list[Any]:
    from menndl_dask.errors import RunError, reading
    from menndl_dask.genome.genome import Genome
    from menndl_dask.genome.individual import Individual
    from menndl_dask.result import Result

    path = next(Path("run/networks").glob("*/genome.json"))
    value = mutated_value(
        json.loads(path.read_text()), rng, ("convolution", "dense", "relu", "same", [3, 3], "os:path")
    )

    def read() -> None:
        genome = Genome.from_dict(value)
        from menndl_dask.data.data import open_problem  # noqa: F401
        from menndl_dask.genome.cost import cost_of
        from tests.stories import STEM

        cost_of(genome, STEM)
        Individual.from_dict({"id": 1, "genome": value})

    def result() -> None:
        changed = mutated_value(Result(0.5, metrics={"a": 1.0}, curve=({"epoch": 1.0},)).to_dict(), rng)
        with reading("journal.jsonl", RunError):
            Result.from_dict(changed)

    return [read if rng.random() < 0.8 else result]


@kind("budgets and problems", _run, 3)
def _budget(rng: Rng) -> list[Any]:
    from menndl_dask.problem import Budget, Problem
    from menndl_dask.run.settings import read_settings

    settings = read_settings(Path("run/run.yaml"))
    problem = mutated_value(settings["problem"], rng, ("dice", "focal", "flip", "cosine", "vote"))
    budget = mutated_value(settings["problem"]["budget"], rng, ("cosine", "float16"))
    return [(lambda: Problem.from_dict(problem)) if rng.random() < 0.6 else (lambda: Budget.from_dict(budget))]


@kind("scheduler files", lambda: None, 0.5)  # each starts threads of Dask
def _scheduler(rng: Rng) -> list[Any]:
    from menndl_dask.cluster.profile import Scheduler

    value = {"type": "Scheduler", "id": "a", "address": "tcp://127.0.0.1:1", "services": {}, "started": 1.0}
    path = Path("scheduler.json")
    path.write_bytes(as_json(mutated_value(value, rng), rng))
    if rng.random() < 0.3:
        damaged(path, rng)

    def connect() -> None:
        with load_cluster(Scheduler(scheduler_file=str(path), timeout_s=0.01)) as cluster, cluster.client():
            pass

    return [connect]


# --- data -----------------------------------------------------------------------------------------------------------

_ZARR_ODD = (
    *(
        [0],
        [10**12],
        [0, 0, 0, 0],
        [10**6] * 4,
        [2**62] * 4,
        [-1] * 4,
        [1] * 4,
        [7, 10, 12, 1],
        "uint8",
        "float16",
        "bool",
    ),
    *("string", "int64", "complex64", {"name": "numpy.datetime64"}, "NaN", "Infinity", "0x7fc00000", [1.0, 2.0]),
    *(
        {"name": "zstd", "configuration": {"level": 99}},
        {"name": "sharding_indexed"},
        {"name": "gzip"},
        {"name": "bytes"},
    ),
    *({"name": "transpose", "configuration": {"order": [9, 9]}}, {"name": "blosc", "configuration": {"cname": "x"}}),
    *(["sample", "y", "x", "channel"], ["y", "y"], [None], "array", "group", 2, 3),
)


def _stores() -> None:
    import zarr

    from tests import stores

    for version in (2, 3):
        data = stores.segmentation(8)
        data.to_zarr(f"v{version}.zarr", zarr_format=version, consolidated=version == 2)
    stores.with_split(stores.classification(24), "train", "validation", "test").to_zarr(
        "classes.zarr", zarr_format=3, consolidated=True
    )
    stores.regression(20).to_zarr("values.zarr", zarr_format=2, consolidated=False)
    stores.unequal(Path("unequal.zarr"), 4)
    stores.volume((6, 12, 12)).to_zarr("volume.zarr", zarr_format=3, consolidated=False)
    zarr.create_group("empty.zarr")


@kind("Zarr", _stores, 4)
def _zarr(rng: Rng) -> list[Any]:
    names = ["v2.zarr", "v3.zarr", "classes.zarr", "values.zarr", "unequal.zarr", "volume.zarr", "empty.zarr"]
    store = Path(names[rng.integers(len(names))])
    for _ in range(int(rng.choice([1, 1, 1, 2]))):
        _damage_store(store, rng)
    return _data_commands(store, rng)


def _data_commands(store: Path, rng: Rng) -> list[Any]:
    from menndl_dask.data.data import open_problem

    choice = rng.random()
    if choice < 0.4:
        return [["check", str(store), "--no-trial"]]
    if choice < 0.7:
        return [lambda: open_problem(store)]
    if choice < 0.85:
        return [["convert", str(store), "out.zarr", *(["--images", "image"] if rng.random() < 0.5 else [])]]
    return [["predict", "best.keras", str(store), "out.zarr"]]


def _damage_store(store: Path, rng: Rng) -> None:
    files = sorted(path for path in store.rglob("*") if path.is_file())
    metadata = [p for p in files if p.name in ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")]
    choice = rng.random()
    if choice < 0.65 and metadata:
        path = metadata[rng.integers(len(metadata))]
        try:
            value = json.loads(path.read_text())
        except (ValueError, RecursionError, OSError):
            return
        path.write_bytes(as_json(mutated_value(value, rng, _ZARR_ODD), rng))
    elif files and choice < 0.85:
        damaged(files[rng.integers(len(files))], rng)
    else:
        every = sorted(path for path in store.rglob("*") if not path.is_symlink()) or [store]
        odd_file(every[rng.integers(len(every))], rng)


def _example_files() -> Iterator[tuple[str, Callable[[Path], Any]]]:
    rng = np.random.default_rng(0)
    grey = (rng.random((20, 24)) * 255).astype("uint8")
    stack = (rng.random((6, 12, 14)) * 255).astype("uint8")
    labels = np.arange(6) % 2

    def picture(path: Path, array: Any = grey, **options: Any) -> None:
        from PIL import Image

        Image.fromarray(array).save(path, **options)

    def tiff(path: Path, **options: Any) -> None:
        import tifffile

        tifffile.imwrite(path, stack, **options)

    def mrc(path: Path) -> None:
        import mrcfile

        with mrcfile.new(path) as file:
            file.set_data(stack.astype("float32"))

    def nifti(path: Path) -> None:
        import nibabel

        nibabel.save(nibabel.Nifti1Image(stack.astype("int16"), np.eye(4)), path)

    def hdf(path: Path) -> None:
        import h5py

        with h5py.File(path, "w") as file:
            file.create_dataset("image", data=stack, chunks=(2, 6, 7), compression="gzip")
            file.create_dataset("label", data=labels)
            file["image"].attrs["unit"] = "nm"

    def netcdf(path: Path, **options: Any) -> None:
        import xarray as xr

        data = {"image": (("sample", "y", "x"), stack, {"scale_factor": 0.5}), "label": ("sample", labels)}
        xr.Dataset(data).to_netcdf(path, **options)

    yield "a.npz", lambda path: np.savez(path, image=stack, label=labels)
    yield "b.npz", lambda path: np.savez_compressed(path, image=stack, label=labels, classes=np.array(["a", "b"]))
    yield "a.npy", lambda path: np.save(path, stack)
    yield "a.png", picture
    yield "b.png", lambda path: picture(path, np.stack([grey] * 3, -1))
    yield "a.jpg", picture
    yield "a.gif", picture
    yield "a.bmp", picture
    yield "a.webp", lambda path: picture(path, np.stack([grey] * 3, -1))
    yield "a.pgm", picture
    yield "a.tif", tiff
    yield "b.tif", lambda path: tiff(path, compression="zlib", tile=(16, 16))
    yield "a.ome.tif", lambda path: tiff(path, metadata={"axes": "ZYX", "PhysicalSizeX": 0.1}, ome=True)
    yield "c.tif", lambda path: tiff(path, imagej=True, metadata={"axes": "TYX"})
    yield "a.mrc", mrc
    yield "a.nii", nifti
    yield "a.nii.gz", nifti
    yield "a.h5", hdf
    yield "a.nc", netcdf
    yield "b.nc", lambda path: netcdf(path, engine="h5netcdf")


_EXAMPLES = [name for name, _ in _example_files()]


def _files() -> None:
    for name, write in _example_files():
        try:
            write(Path(name))
        except (ImportError, ValueError):  # a library that is not installed
            Path(name).unlink(missing_ok=True)
    Path("table.csv").write_text("file,label,x,y\n" + "".join(f"a_{n}.png,{'ab'[n % 2]},{n},{n}\n" for n in range(6)))
    Path("labels.csv").write_text("label\n" + "".join(f"{n % 2}\n" for n in range(6)))
    for number in range(4):
        for part in ("images", "masks"):
            Path("folder", part).mkdir(parents=True, exist_ok=True)
            shutil.copy("a.png", f"folder/{part}/{number}.png")
        Path("kinds", "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        shutil.copy("a.jpg", f"kinds/{'ab'[number % 2]}/{number}.jpg")


@kind("image files", _files, 8)
def _image_file(rng: Rng) -> list[Any]:
    names = [name for name in _EXAMPLES if Path(name).exists()]
    path = Path(names[rng.integers(len(names))])
    damaged(path, rng)
    options = [[], [], ["--label", "labels.csv"], ["--images", "image"], ["--dims", "z", "y", "x"]]
    return [["convert", str(path), "out.zarr", *options[rng.integers(len(options))]]]


@kind("tables and folders", _files, 3)
def _folder(rng: Rng) -> list[Any]:
    if rng.random() < 0.6:
        path = Path(str(rng.choice(["table.csv", "labels.csv"])))
        damaged(path, rng)
        source = str(rng.choice(["a.npz", "a.tif", "folder/images", "a.npy"]))
        more = ["--radius", "2"] if rng.random() < 0.3 else []
        return [
            [
                "convert",
                source,
                "out.zarr",
                "--label",
                str(rng.choice([str(path), f"{path}:label", f"{path}:x"])),
                *more,
            ]
        ]
    folder = Path(str(rng.choice(["folder", "kinds"])))
    every = sorted(path for path in folder.rglob("*") if path.is_file())
    path = every[rng.integers(len(every))]
    damaged(path, rng) if rng.random() < 0.6 else odd_file(path if rng.random() < 0.7 else path.parent, rng)
    return [["convert", str(folder), "out.zarr"]]


# --- command lines --------------------------------------------------------------------------------------------------

_WORDS = (
    *(
        "",
        " ",
        "-",
        "--",
        "-1",
        "0",
        "1",
        "2",
        "1e999",
        "nan",
        "inf",
        "-inf",
        "1e-9",
        "99999999999999999999",
        "0x10",
        "1_000",
    ),
    *(
        "é",
        "\n",
        "a\nb",
        "\udcff",
        "\x1b[31m",
        "\u202eabc",
        "x" * 5000,
        "%s",
        "{0}",
        "~",
        "$HOME",
        "a:b",
        ":",
        "a:",
        "::",
    ),
    *(
        "data.zarr",
        "run",
        "a.npz",
        "missing",
        "missing/deeper",
        "pipe",
        "folder",
        "loop",
        "unreadable",
        "odd\udcff.npz",
    ),
    *(
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/proc/self/mem",
        "/proc/1/root",
        ".",
        "..",
        "dice",
        "flip",
        "local",
        "slurm",
    ),
    *(
        "y",
        "x",
        "16",
        "none",
        "whole",
        "auto",
        "standard",
        "seed",
        "image",
        "label",
        "http://",
        "s3://",
        "://",
        "file:///",
    ),
)


def _odd_places() -> None:
    _run()
    np.savez("a.npz", image=np.zeros((6, 8, 8), np.uint8), label=np.arange(6) % 2)
    shutil.copy("a.npz", "odd\udcff.npz")
    os.mkfifo("pipe")
    Path("folder").mkdir()
    Path("loop").symlink_to("loop")
    Path("unreadable").write_text("a: b")
    Path("unreadable").chmod(0)


@kind("command lines", _odd_places, 8)
def _command_line(rng: Rng) -> list[Any]:
    import argparse

    from menndl_dask.cli.cli import _parser

    words: list[str] = []
    parser: argparse.ArgumentParser = _parser()
    while True:
        actions = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        if not actions:
            break
        names = list(actions[0].choices)
        if rng.random() < 0.03:
            return [[*words, _word(rng)]]
        words.append(names[rng.integers(len(names))])
        parser = actions[0].choices[words[-1]]
    if "resume" in words or "search" in words:
        words += ["--evaluations", "2"] if rng.random() < 0.7 else []
    if "check" in words and "cluster" not in words:
        words.append("--no-trial")
    for action in parser._actions:
        if not action.option_strings:
            usual = {"data": "data.zarr", "run": "run", "source": "a.npz", "target": "out.zarr", "model": "best.keras"}
            known = usual.get(action.dest, "local")
            words.append(known if rng.random() < 0.7 else _word(rng))
        elif rng.random() < 1.5 / len(parser._actions) and not isinstance(action, argparse._HelpAction):
            words.append(action.option_strings[0])
            if action.nargs != 0:
                words += [_word(rng) for _ in range(int(rng.choice([1, 1, 1, 2])))]
    return [[word.replace("\x00", "") for word in words]]


def _word(rng: Rng) -> str:
    if rng.random() < 0.2:
        value = odd(rng)
        return value if isinstance(value, str) else json.dumps(value) if not isinstance(value, float) else str(value)
    return _WORDS[rng.integers(len(_WORDS))]
