"""Three applications: an evolved network beside standard networks, random search and predictors that are not deep.

    python benchmarks/applications.py clouds --data l8biome_patches.npz --work runs/applications --workers 2
    python benchmarks/applications.py clouds-pixels --data l8biome_patches.npz --work runs/applications
    python benchmarks/applications.py boundaries --data FOLDER --work runs/applications  # train.npz and test.npz
    python benchmarks/applications.py stem --work runs/applications                      # simulated

`clouds` classifies chips of 32 × 32 pixels, `clouds-pixels` labels the pixels of chips of 64 × 64, `boundaries` finds
membranes in volumes of electron microscopy, and `stem` finds defects in simulated micrographs.

Each case searches, draws random networks for as long as the search took on its workers, trains the two best networks of
both, the knee of the search (the cheapest network within one standard error of its best) and the standard networks with
each of `--seeds` seeds for `--retrain` times the budget of the search, and fits a linear model and a random forest.
With `--label-efficiency` the three best networks are also trained on a quarter and on half of the training images, for
as many steps. WORK/CASE/table.md and WORK/CASE/rows.json have all of it, and are written again after each part. The
same command carries on where it was stopped.

Expected on one quiet core, with the usual options (twice that fast with `--workers 2` on two cores): `clouds` 7 hours,
half of it for ResNet-18 and GoogLeNet. `--retrain 1` halves the comparison, `--with mobilenet_v2 lenet5` leaves the
large networks out, and a later command with more names or seeds adds them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import xarray as xr
from distributed import Client
from numpy.typing import NDArray

from menndl_dask import SearchSpace, UserError, open_problem, workflow
from menndl_dask.cluster.cluster import load_cluster
from menndl_dask.data.check.quick_predictors import coarse, neighbourhood
from menndl_dask.data.data import splits
from menndl_dask.genome.individual import Evaluation, Individual
from menndl_dask.metric import Measure
from menndl_dask.problem import Budget, Limits, Problem
from menndl_dask.report.contenders import rankings, search_cost, standings
from menndl_dask.report.headline import headline
from menndl_dask.run.recorder import CONTENDERS, STANDARD_ID, Compared
from menndl_dask.run.run import Run
from menndl_dask.search import comparison
from menndl_dask.search.initial_networks import Beginning, to_record
from menndl_dask.search.search import Search
from menndl_dask.space.standard.standard import named_network
from menndl_dask.terminal import say
from menndl_dask.text import MISSING, counted, fitness_text, metric_title, milliseconds, quantity, size

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflows"))

Array = NDArray[Any]
_SHARES = (0.25, 0.5)  # of the training images, beside all of them
_TREES, _PIXELS = 200, 100_000  # of the random forest: trees, training pixels
_FINALISTS = 2
_FEW = 6  # random networks at the start of a search, at least
_FILL = 255
_SPLITS = {"train": "train", "val": "validation", "test": "test"}
# which of the four turns the first patch of a biome has
_FIRST_TURN = {
    "Barren": 0, "SnowIce": 0, "Forest": 1, "Urban": 1, "GrassCrops": 2, "Water": 2, "Shrubland": 3, "Wetlands": 3,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """An application: how its images are written to a store, and what a search on it may use."""

    title: str
    write: Callable[[Path | None, Path], None]  # the source, and the store to write
    task: str
    networks: tuple[str, ...]  # standard ones
    budget: Budget
    evaluations: int
    limits: dict[str, float] = field(default_factory=dict)  # of the space
    augmentation: tuple[str, ...] = ()


def write_chips(source: Path | None, target: Path, chip: int = 32) -> None:
    """Cut the patches that workflows/clouds.py describes into chips, each cloudy if more than half of it is cloud.

    The split of a patch with a name is that of benchmarks/image_space.md: 18, 9 and 9 scenes, of each biome alike.
    """
    if source is None or not source.is_file():
        raise UserError(f"--data: expected the .npz file with the patches of workflows/clouds.py, got {source}")
    with np.load(source) as file:
        scale = file["scale"].astype("float32")[:, np.newaxis, np.newaxis]
        images, kinds, names = file["image"].astype("float32") * scale, file["label"], file["split"]
        if "name" in file.files:
            names = _by_turns(file["name"])
    rows, columns = kinds.shape[1] // chip, kinds.shape[2] // chip
    images = _cut(np.moveaxis(images, 1, -1), rows, columns, chip)
    kinds = _cut(kinds, rows, columns, chip)
    cloud = np.isin(kinds, (1, 3)).mean(axis=(1, 2)) > 0.5
    _write(target, images, cloud.astype("uint8"), ("sample",), ["clear", "cloud"], names, rows * columns)


def _by_turns(names: Array) -> Array:
    """Return the split of each patch: within a biome they are for training, validation, training and test by turns."""
    seen: dict[str, int] = {}
    found = []
    for biome in (str(name).partition("_")[0] for name in names):
        turn = seen.get(biome, _FIRST_TURN.get(biome, 0))
        found.append(("train", "validation", "train", "test")[turn % 4])
        seen[biome] = turn + 1
    return np.array(found, dtype=object)


def write_pixels(source: Path | None, target: Path) -> None:
    """Write the chips of 64 × 64 pixels of workflows/clouds.py, with a label for each pixel."""
    import clouds

    clouds.chips_of([source or Path("--data")], target, clouds.Cut("segmentation", 64))


def write_boundaries(source: Path | None, target: Path, block: tuple[int, int, int] = (24, 48, 48)) -> None:
    """Cut two volumes into blocks: the first quarter of the training volume along x validates, the other one tests."""
    images, labels, names = [], [], []
    for name in ("train", "test"):
        file = (source or Path("--data")) / f"{name}.npz"
        if not file.is_file():
            raise UserError(f"--data: expected a folder with train.npz and test.npz, found no {file}")
        with np.load(file) as arrays:
            image, label = arrays["image"], arrays["boundary"]
        counts = [length // side for length, side in zip(image.shape, block, strict=True)]
        for place in np.ndindex(*counts):
            at = tuple(slice(p * side, (p + 1) * side) for p, side in zip(place, block, strict=True))
            images.append(image[at].astype("float32")[..., np.newaxis])
            labels.append(label[at].astype("uint8"))
            names.append("validation" if name == "train" and place[2] == 0 else name)
    dims = ("sample", "z", "y", "x")
    _write(target, np.stack(images), np.stack(labels), dims, ["inside", "boundary"], np.array(names), 1)


def write_stem(source: Path | None, target: Path, images: int = 480, size: int = 64) -> None:
    """Simulate micrographs of graphene with silicon dopants and vacancies."""
    from stem_material import MATERIALS
    from stem_simulation import write_images

    write_images(target, MATERIALS["graphene"], images=images, size=size, seed=0)


def _cut(patches: Array, rows: int, columns: int, chip: int) -> Array:
    patch, _, _, *rest = patches.shape
    parts = patches[:, : rows * chip, : columns * chip].reshape(patch, rows, chip, columns, chip, *rest)
    return np.moveaxis(parts, 2, 3).reshape(patch * rows * columns, chip, chip, *rest)


def _write(
    target: Path, images: Array, labels: Array, dims: tuple[str, ...], classes: list[str], names: Array, each: int
) -> None:
    """Write samples with the names of their splits; `each` neighbouring ones are from one group."""
    split = np.array([_SPLITS.get(str(name), str(name)) for name in np.repeat(names, each)], dtype=object)
    space = ("z", "y", "x")[-(images.ndim - 2) :]
    dataset = xr.Dataset(
        {
            "image": (("sample", *space, "channel"), images),
            "label": (dims, labels, {"classes": classes}),
        },
        coords={"split": ("sample", split), "group": ("sample", np.arange(len(images)) // each)},
    )
    partial = target.with_name(target.name + ".partial")
    chunks = {"image": {"chunks": (max(1, min(each, 64)), *images.shape[1:])}}
    dataset.to_zarr(partial, mode="w", zarr_format=3, consolidated=False, encoding=chunks)
    partial.rename(target)


_U_NETS = ("unet_small", "unet_planned", "unet_full")
CASES = {
    "clouds": Case(
        "Clouds in Landsat 8 chips of 32 × 32 pixels: cloudy or clear", write_chips, "classification",
        ("resnet_small", "lenet5", "mobilenet_v2", "googlenet", "resnet18"),
        Budget(epochs=5), 60, {"max_parameters": 500_000, "max_flops": 60e6}, ("flip", "rotate=90"),
    ),
    "clouds-pixels": Case(
        "Clouds in Landsat 8 chips of 64 × 64 pixels, pixel by pixel", write_pixels, "segmentation", _U_NETS,
        Budget(epochs=4, batch_size=16), 40, {"max_parameters": 600_000, "max_flops": 400e6}, ("flip",),
    ),
    "boundaries": Case(
        "Boundaries of neurons in FIB-SEM volumes, voxel by voxel", write_boundaries, "segmentation",
        ("unet_small", "unet_planned", "unet_3d"),
        Budget(epochs=20, batch_size=2), 40, {"max_parameters": 1_600_000, "max_flops": 9e9}, ("flip",),
    ),
    "stem": Case(
        "Vacancies and dopants in simulated micrographs of graphene", write_stem, "segmentation", _U_NETS,
        Budget(epochs=8, batch_size=8, learning_rate=3e-3), 40, {"max_parameters": 500_000, "max_flops": 350e6},
    ),
}  # fmt: skip


@dataclass(slots=True)
class Results:
    """All rows of a case, and the files that have them."""

    folder: Path
    facts: dict[str, Any]
    rows: list[dict[str, Any]] = field(default_factory=list)
    efficiency: list[dict[str, Any]] = field(default_factory=list)

    def write(self) -> None:
        """Write ``rows.json`` and ``table.md``."""
        (self.folder / "rows.json").write_text(json.dumps(asdict(self) | {"folder": self.folder.name}, indent=1) + "\n")
        (self.folder / "table.md").write_text(self.markdown())

    def markdown(self) -> str:
        """Return the tables."""
        title = metric_title(self.facts["metric"])
        lines = [f"## {self.facts['title']}", "", self.facts["how"], ""]
        lines += [f"{self.facts['conclusion']}. {self.facts['search']}", ""] if "conclusion" in self.facts else []
        head = ["network", "kind", "budget", "seeds", f"validation {title}", f"test {title}"]
        head.append("difference to the best standard network, 95 %")
        costs = [("parameters", "parameters", quantity), ("FLOPs", "flops_forward", quantity)]
        costs += [("latency", "latency_ms", milliseconds), ("samples/s", "samples_per_s", quantity)]
        costs += [("memory to predict", "inference_bytes", size), ("memory to train", "training_bytes", size)]
        lines += [_line([*head, *(name for name, _, _ in costs)]), _line(["---"] * 3 + ["---:"] * (4 + len(costs)))]
        for row in sorted(self.rows, key=lambda row: -fmean(row["test"] or [-1e9])):
            known = row.get("costs", {})
            budget = MISSING if row["factor"] is None else f"× {row['factor']:g}"
            shown = [row["name"], row["kind"], budget, str(len(row["test"])), _spread(row["fitness"])]
            each = (show(known[key]) if key in known else MISSING for _, key, show in costs)
            between = row.get("difference")
            certain = MISSING if not between else "{:+.4f} ({:+.4f} to {:+.4f})".format(*between)
            lines.append(_line([*shown, _spread(row["test"]), certain, *each]))
        if self.efficiency:
            lines += ["", f"Test {title} by the share of the training images, with as many steps:", ""]
            shares = sorted({row["share"] for row in self.efficiency})
            lines += [_line(["network", *(f"{s:.0%}" for s in shares)]), _line(["---"] + ["---:"] * len(shares))]
            for name in dict.fromkeys(row["name"] for row in self.efficiency):
                found = [[r["test"] for r in self.efficiency if (r["name"], r["share"]) == (name, s)] for s in shares]
                lines.append(_line([name, *map(_spread, found)]))
        return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return MISSING
    return fitness_text(fmean(values)) + (f" ± {stdev(values):.2g}" if len(values) > 1 else "")


def knee(evaluations: Sequence[Evaluation], samples: int) -> Individual | None:
    """Return the network with the fewest FLOPs within one standard error of the best fitness; None without any.

    The error is that of a share of so many validation samples, since each network of a search is trained once.
    """
    known = [(i, r) for i, r in evaluations if r.fitness is not None and "flops_forward" in r.costs]
    if not known:
        return None
    best = max(result.fitness or 0.0 for _, result in known)
    error = float(np.sqrt(max(best * (1 - best), 0.0) / max(samples, 1)))
    near = [(i, r) for i, r in known if (r.fitness or 0.0) >= best - error]
    return min(near, key=lambda pair: pair[1].costs["flops_forward"])[0]


def not_deep(problem: Problem, seeds: int) -> Iterator[dict[str, Any]]:
    """Fit a linear model and random forests, and yield their rows."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, labels = _features(problem)
    seen = "each pixel and its neighbourhood" if problem.task == "segmentation" else "coarse images"
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, C=0.1))
    forests = [RandomForestClassifier(_TREES, min_samples_leaf=2, random_state=n) for n in range(seeds)]
    train = np.random.default_rng(0).permutation(len(labels["train"]))[:_PIXELS]
    for name, models in ((f"linear model of {seen}", [linear]), (f"random forest of {seen}", forests)):
        row: dict[str, Any] = {"name": name, "kind": "not deep", "factor": None, "fitness": [], "test": []}
        for model in models:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # limited steps
                model.fit(features["train"][train], labels["train"][train])
            for split, key in (("validation", "fitness"), ("test", "test")):
                measure = Measure(problem.metric_name, outputs=problem.facts.outputs, ignore=problem.ignore)
                measure.update(labels[split], np.eye(problem.facts.outputs)[model.predict(features[split])])
                row[key].append(measure.value())
        yield row


def _features(problem: Problem) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return features and labels of each split, of samples or of pixels."""
    dataset = xr.open_zarr(problem.data, consolidated=False)
    features, labels = {}, {}
    for split, where in splits(problem).items():
        images, truth = dataset["image"][where].values, dataset["label"][where].values
        if images.ndim == truth.ndim:
            images = images[..., np.newaxis]
        dense = problem.task == "segmentation"
        found = np.stack([neighbourhood(image) for image in images]) if dense else coarse([images])
        flat = truth.reshape(-1).astype(int)
        kept = np.full(len(flat), True) if problem.ignore is None else flat != problem.ignore
        features[split], labels[split] = found.reshape(len(flat), -1)[kept], flat[kept]
    return features, labels


def opened(case: Case, store: Path, budget: Budget, seed: int) -> tuple[Problem, SearchSpace]:
    """Open the store of a case; the images are trained on as they are."""
    patch = "whole" if case.task == "segmentation" else None
    problem = open_problem(store, task=case.task, budget=budget, augmentation=case.augmentation, patch=patch, seed=seed)
    return problem, SearchSpace.image(problem, **case.limits)  # type: ignore[arg-type]


def fewer_images(store: Path, problem: Problem, share: float) -> Path:
    """Write a store with a share of the training images, the same for every network; smaller shares are parts."""
    target = store.with_name(f"{store.stem}-{share:g}.zarr")
    if not target.exists():
        parts = splits(problem)
        drawn = np.random.default_rng(0).permutation(parts["train"])[: max(1, round(share * len(parts["train"])))]
        names = np.full(1 + max(int(where.max()) for where in parts.values()), "", dtype=object)
        for name, where in (parts | {"train": drawn}).items():
            names[where] = name
        kept = np.flatnonzero(names != "")
        with xr.open_zarr(store, consolidated=False) as dataset:
            found = dataset.isel(sample=kept).load().drop_vars("split", errors="ignore").drop_encoding()
        found = found.assign_coords(split=("sample", names[kept]))
        partial = target.with_name(target.name + ".partial")
        found.to_zarr(partial, mode="w", zarr_format=3, consolidated=False)
        partial.rename(target)
    return target


def label_efficiency(
    client: Client, case: Case, store: Path, problem: Problem, best: Sequence[Compared], given: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Train networks on shares of the training images for as many steps, and yield the test score of each training."""
    known = given.work / given.case / "label_efficiency.jsonl"
    done = [json.loads(line) for line in known.read_text().splitlines()] if known.exists() else []
    yield from done
    test = f"test_{problem.metric_name}"
    for share in _SHARES:
        budget = problem.budget.times(1 / share)
        part, _ = opened(case, fewer_images(store, problem, share), budget, problem.seed)
        made = {(row["key"], row["seed"]) for row in done if row["share"] == share}
        planned = [
            replace(each, seed=seed)
            for seed in range(problem.seed, problem.seed + given.seeds)
            for each in best
            if (each.individual.genome.key, seed) not in made
        ]
        folder = given.work / given.case / "search" / CONTENDERS / f"share-{share:g}"
        folder.mkdir(parents=True, exist_ok=True)
        for each in comparison.train(client, part, planned, _limits(given), folder):
            if test not in each.result.metrics:
                say(f"  {each.name} with {share:.0%} of the images: {each.result.failure} ({each.result.message})")
                continue
            key, value = each.individual.genome.key, each.result.metrics[test]
            row = {"name": each.name, "key": key, "share": share, "seed": each.seed, "test": value}
            with known.open("a") as file:
                file.write(json.dumps(row) + "\n")
            yield row


def _limits(given: argparse.Namespace) -> Limits:
    return Limits(seconds=given.time_limit, memory_bytes=int(given.memory_limit * 1e9))


def _rows(run: Run) -> list[dict[str, Any]]:
    rows = []
    for ranking in rankings(run):
        for each in ranking.standings:
            row = {"name": each.name, "kind": each.kind, "factor": each.factor, "fitness": list(each.fitness)}
            known = ranking.differences.get(each.name)
            row |= {"difference": None if known is None else [known.value, known.low, known.high]}
            rows.append(row | {"test": list(each.test), "costs": each.costs, "failures": list(each.failures)})
    return rows


def _how(problem: Problem, evaluations: int, given: argparse.Namespace) -> str:
    """Say on which data, with which budget, when and where the rows were made."""
    samples = "{} training, {} validation and {} test samples".format(*problem.facts.samples)
    each = f"{counted(evaluations, 'network')} of {counted(round(problem.budget.epochs or 0), 'epoch')} in the search"
    seeds = f"{counted(given.seeds, 'seed')}, mean ± standard deviation over the seeds"
    where = f"{os.cpu_count()} cores of {platform.machine()}, {counted(given.workers, 'worker')}"
    return f"{samples}; {each}; {seeds}. {time.strftime('%d %B %Y')}, {where}."


def run_case(given: argparse.Namespace) -> Results:
    """Run a case, or carry on with it, and return its results."""
    case, folder = CASES[given.case], given.work / given.case
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / "images.zarr"
    if not store.exists():
        case.write(given.data, store)
    budget = case.budget if given.epochs is None else replace(case.budget, epochs=given.epochs)
    evaluations = given.evaluations or case.evaluations
    problem, space = opened(case, store, budget, given.seed)
    facts = {"case": given.case, "title": case.title, "metric": problem.metric_name}
    facts["how"] = _how(problem, evaluations, given)
    results = Results(folder, facts, [*not_deep(problem, given.seeds)])
    results.write()
    begun = Beginning.of(given.initial, problem, space, folder / "search", given.seed)
    search = Search(
        problem, begun.space, folder / "search", initial=[each.genome for each in begun.networks],
        random=max(_FEW, evaluations // 3), seed=given.seed, limits=_limits(given),
        settings={"initial": to_record(begun.networks)},
    )  # fmt: skip
    names = case.networks if given.networks is None else given.networks
    others = [(title, Individual(STANDARD_ID, genome)) for title, genome in (named_network(n, problem) for n in names)]
    with load_cluster("local", workers=given.workers) as cluster, cluster.client() as client:
        run = search.run(client, evaluations=evaluations)
        cheap = knee(list(run.evaluations), problem.facts.samples[1])
        if cheap is not None:
            others.append((f"knee, network {cheap.id}", cheap))
        workflow.compare_with(
            run, client, others, factor=given.retrain, finalists=_FINALISTS, seeds=given.seeds, limits=_limits(given),
            problem=problem, random=None if given.no_random else space,
        )  # fmt: skip
        results.facts |= {"search": search_cost(run), "conclusion": headline(run)}
        results.rows = [r for r in results.rows if r["kind"] == "not deep"] + _rows(run)
        results.write()
        if given.label_efficiency:
            factor = max(given.retrain)
            found = standings([c for c in run.contenders if c.factor == factor], problem)[:3]
            each = {c.name: c for c in run.contenders if c.factor == factor}
            best = [each[standing.name] for standing in found]
            results.efficiency = [{"name": s.name, "share": 1.0, "test": value} for s in found for value in s.test]
            for row in label_efficiency(client, case, store, problem, best, given):
                results.efficiency.append(row)
                results.write()
    workflow.report(run)
    results.write()
    return results


def main(arguments: list[str] | None = None) -> int:
    """Run one case and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=sorted(CASES))
    parser.add_argument("--data", type=Path, metavar="PATH", help="the images, where they are not simulated")
    parser.add_argument("--work", type=Path, default=Path("runs/applications"), metavar="DIR")
    parser.add_argument("--evaluations", type=int, metavar="N", help="networks of the search")
    parser.add_argument("--epochs", type=float, metavar="N", help="budget of a network in the search")
    text = "times the budget of the search, of the comparison; more than one for several tables (default: 4)"
    parser.add_argument("--retrain", type=float, nargs="+", default=[4.0], metavar="X", help=text)
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="trainings of each network (default: 3)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the search")
    parser.add_argument("--workers", type=int, default=1, metavar="N")
    parser.add_argument("--with", dest="networks", nargs="*", metavar="NAME", help="standard networks")
    parser.add_argument("--initial", nargs="+", default=["standard"], metavar="NAME", help="as of menndl search")
    parser.add_argument("--no-random", action="store_true", help="without random search")
    parser.add_argument(
        "--label-efficiency", action="store_true", help="the three best with 25 and 50 %% of the images"
    )
    parser.add_argument("--time-limit", type=float, default=3600.0, metavar="S", help="of a training, before --retrain")
    parser.add_argument("--memory-limit", type=float, default=6.0, metavar="GB", help="of a training")
    say(run_case(parser.parse_args(arguments)).markdown())
    return 0


if __name__ == "__main__":
    sys.exit(workflow.guarded(main))
