"""Evolve a network that finds clouds in Landsat 8 images: the class of a chip, or of each of its pixels.

    python workflows/clouds.py --data l8biome_patches.npz
    python workflows/clouds.py --data BC --task classification --chip 32

The data are scenes of the Landsat 8 cloud cover validation set "L8 Biome" (U.S. Geological Survey, public domain) as
they are downloaded, in folders, or patches of them in one .npz file: see landsat_scenes.py and docs/clouds.md.

Scenes are cut into chips. All chips of a scene are in one split. Each pixel is cloud (thick or thin) or clear; so is
each chip, if nearly all of its pixels are.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from pathlib import Path

import numpy as np
import xarray as xr
from cloud_scores import score_scenes
from landsat_scenes import FILL, Scene, read_scenes

from menndl_dask import SearchSpace, UserError, open_problem, workflow
from menndl_dask.data.formats.labels.chips import chip_places
from menndl_dask.data.splits import split_samples
from menndl_dask.errors import reading
from menndl_dask.problem import SPLITS
from menndl_dask.terminal import say
from menndl_dask.text import counted

_LABELLED = 0.5  # least share of a chip's pixels that have a label
_CLASSES = ["clear", "cloud"]
_BLOCK = 64  # chips that are read and written together
# of a network, for each pixel of a chip: the standard network has nearly as many
_FLOPS = {"segmentation": 85e3, "classification": 37e3}


@dataclass(frozen=True)
class Cut:
    """How scenes are cut into chips."""

    task: str = "segmentation"
    chip: int = 64  # pixels a side
    share: float = 0.8  # least share of a chip's labelled pixels that are of its class
    most: int = 400  # chips of a scene
    seed: int = 0


@dataclass
class Chips:
    """The first pixels of the chips that were taken of a scene, their classes, and how many were left out, and why."""

    corners: list[tuple[int, ...]] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)


def chips_of(sources: Sequence[Path], target: Path, cut: Cut, splits: Path | None = None) -> Path:
    """Write chips of scenes or patches as a labelled data set in Zarr, unless it exists; say what was left out.

    Parameters
    ----------
    sources
        Folders of scenes, or one file of patches.
    target
        The Zarr store. Its coordinate ``scene`` says of which scene a chip is.
    cut
        What chips are taken, and how they are labelled.
    splits
        Table ``scene,split``.

    Raises
    ------
    UserError
        If the sources are not as expected, or the store was made in another way.
    """
    made_with = {"chips": str(cut), "data": " ".join(map(str, sources)), "splits": str(splits)}
    if not target.exists():
        scenes, notes = read_scenes(sources)
        for note in notes:
            say(note)
        return write_chips(split_scenes(scenes, cut.seed, splits), target, cut, made_with)
    found = xr.open_zarr(target, consolidated=False).attrs
    for key, value in made_with.items():
        if found.get(key) != value:
            raise UserError(f"{target}: was made with {key} {found.get(key)}, now {value}: choose another --run")
    return target


def choose_chips(scene: Scene, cut: Cut) -> Chips:
    """Cut a scene into chips side by side; leave out those without labels, the mixed ones, and more than are wanted.

    A chip is of the class that at least `Cut.share` of its labelled pixels have.
    """
    found = Chips()
    places = [place for _, place in chip_places([scene.size], cut.chip)[0]]
    for corner, label in zip(places, _parts(scene.label, scene, places, cut.chip), strict=True):
        labelled = label[label != FILL]
        cloud = float(np.mean(labelled)) if labelled.size else 0.0
        if labelled.size < _LABELLED * label.size:
            found.left["mostly without a label"] += 1
        elif cut.task == "classification" and max(cloud, 1 - cloud) < cut.share:
            found.left["mixed"] += 1
        else:
            found.corners.append(corner)
            found.classes.append(int(cloud >= 0.5))
    if len(found.corners) > cut.most:
        found.left[f"more than {cut.most} of a scene, drawn at random"] += len(found.corners) - cut.most
        drawn = np.random.default_rng(cut.seed).choice(len(found.corners), cut.most, replace=False)
        kept = sorted(drawn.tolist())
        found = Chips([found.corners[n] for n in kept], [found.classes[n] for n in kept], found.left)
    return found


def split_scenes(scenes: Sequence[Scene], seed: int, table: Path | None = None) -> list[Scene]:
    """Return the scenes with their splits: those of a table ``scene,split``, their own, or drawn within each biome.

    Raises
    ------
    UserError
        If the table lacks a scene or has another split, or there are fewer than three scenes.
    """
    if table is not None:
        with reading(table, UserError), table.open(encoding="utf-8", newline="") as file:
            named = {row.get("scene"): row.get("split") for row in csv.DictReader(file)}
        for scene in scenes:
            if named.get(scene.name) not in SPLITS:
                expected = f"columns scene and split, and {', '.join(SPLITS)} for each scene"
                raise UserError(f"{table}: expected {expected}, got {named.get(scene.name)} for {scene.name}")
        return [replace(scene, split=str(named[scene.name])) for scene in scenes]
    if all(scene.split for scene in scenes):
        return list(scenes)
    if len(scenes) < len(SPLITS):
        raise UserError(f"--data: expected at least {len(SPLITS)} scenes, one for each split, got {len(scenes)}")
    biomes = np.unique([scene.biome for scene in scenes], return_inverse=True)[1]
    split = {number: name for name, numbers in split_samples(biomes, seed=seed).items() for number in numbers.tolist()}
    return [replace(scene, split=split[number]) for number, scene in enumerate(scenes)]


def write_chips(scenes: Sequence[Scene], target: Path, cut: Cut, made_with: Mapping[str, str]) -> Path:
    """Write chips of scenes as a labelled data set in Zarr; say what was left out.

    Raises
    ------
    UserError
        If a scene is smaller than a chip, or no chip is left.
    """
    smallest = min(min(scene.size) for scene in scenes)
    if not 0 < cut.chip <= smallest:
        raise UserError(f"--chip: expected 1 to {smallest} pixels, the size of the smallest scene, got {cut.chip}")
    left: Counter[str] = Counter()
    partial, number = target.with_name(target.name + ".partial"), 0
    for scene in scenes:
        chips = choose_chips(scene, cut)
        left.update(chips.left)
        for dataset in _datasets(scene, chips, cut):
            first = {"mode": "w", "encoding": {"image": {"chunks": (_BLOCK, cut.chip, cut.chip, len(scene.bands))}}}
            how = {"append_dim": "sample"} if number else first
            dataset.assign_attrs(made_with).to_zarr(partial, zarr_format=3, consolidated=False, **how)
            number += dataset.sizes["sample"]
    say(f"chips of {cut.chip} x {cut.chip} pixels: {number:,} of {counted(len(scenes), 'scene')}")
    beyond = chip_places([scene.size for scene in scenes], cut.chip)[1]
    if beyond:
        say(f"left out: {beyond:,} pixels at the lower and right edges, where no whole chip fits")
    for reason, chips_left in left.items():
        say(f"left out: {chips_left:,} chips ({reason})")
    if not number:
        raise UserError(f"--data: expected chips of a class, got only such that are left out: {dict(left)}")
    partial.rename(target)
    return target


def _parts(
    read: Callable[[slice, slice], np.ndarray], scene: Scene, corners: Iterable[tuple[int, ...]], chip: int
) -> Iterator[np.ndarray]:
    """Yield the parts of a scene with these first pixels, in order; those beside each other are read together."""
    for row, beside in groupby(corners, key=lambda corner: corner[0]):
        band = read(slice(row, row + chip), slice(0, scene.size[1]))
        for _, column in beside:
            yield band[:, column : column + chip]


def _datasets(scene: Scene, chips: Chips, cut: Cut) -> Iterator[xr.Dataset]:
    """Yield the chips of a scene, some at a time."""
    images = _parts(scene.image, scene, chips.corners, cut.chip)
    labels = _parts(scene.label, scene, chips.corners, cut.chip)
    for start in range(0, len(chips.corners), _BLOCK):
        number = min(_BLOCK, len(chips.corners) - start)
        label = np.array(chips.classes[start : start + number], dtype="uint8")
        if cut.task == "segmentation":
            label = np.stack(list(islice(labels, number)))
        dims = ("sample", "y", "x", "channel")
        names = {"split": scene.split, "scene": scene.name, "biome": scene.biome or "unknown"}
        yield xr.Dataset(
            {
                "image": (dims, np.stack(list(islice(images, number)))),
                "label": (dims[: label.ndim], label, {"classes": _CLASSES, "fill": FILL}),
            },
            coords={name: ("sample", np.full(number, value, dtype=object)) for name, value in names.items()}
            | {"channel": np.array(scene.bands, dtype=object)},
        )


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    text = "folders of scenes, or one .npz file with patches"
    found.add_argument("--data", type=Path, required=True, nargs="+", metavar="PATH", help=text)
    text = "the class of each pixel, or of each chip (default: segmentation)"
    found.add_argument("--task", choices=("segmentation", "classification"), default="segmentation", help=text)
    found.add_argument("--chip", type=int, default=64, metavar="PIXELS", help="pixels a side of a chip (default: 64)")
    text = "classification: least share of a chip's labelled pixels that are of its class; others are left out"
    found.add_argument("--share", type=float, default=Cut.share, metavar="X", help=f"{text} (default: {Cut.share})")
    text = f"most chips of a scene, drawn at random (default: {Cut.most})"
    found.add_argument("--chips", type=int, default=Cut.most, metavar="N", help=text)
    text = "a .csv table with columns scene and split (default: the patches' own, or drawn within each biome)"
    found.add_argument("--splits", type=Path, metavar="FILE", help=text)
    workflow.add_options(found, run="runs/clouds", evaluations=40, epochs=4)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the workflow with the options of the command line."""
    given = parser().parse_args(arguments)
    options = workflow.Options.read(given)
    if not 0.5 <= given.share <= 1:
        raise UserError(f"--share: expected 0.5 to 1, got {given.share}")
    if given.chips < 1:
        raise UserError(f"--chips: expected at least 1, got {given.chips}")
    cut = Cut(given.task, given.chip, given.share, given.chips, options.seed)
    options.run.mkdir(parents=True, exist_ok=True)
    store = chips_of(given.data, options.run / f"{cut.task}-{cut.chip}.zarr", cut, given.splits)
    problem = open_problem(
        store, task=cut.task, group="scene", budget=options.budget, augmentation=options.augmentation,
        seed=options.seed,
    )  # fmt: skip
    space = SearchSpace.image(problem, max_parameters=500_000, max_flops=_FLOPS[cut.task] * cut.chip**2)
    status = workflow.main_job(problem, space, options)
    if (options.run / "best.keras").is_file() and not options.detach:
        score_scenes(options.run, store, FILL, options.seed)
    return status


if __name__ == "__main__":
    sys.exit(workflow.guarded(main))
