"""The options of workflow scripts and of the command line, with their defaults. Runs on the driver."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from menndl_dask.errors import UserError
from menndl_dask.problem import (
    BACKENDS,
    LARGE_IMAGES,
    NORMALISATIONS,
    PRECISIONS,
    SCHEDULES,
    UNITS,
    Budget,
    Limits,
)

if TYPE_CHECKING:
    from menndl_dask.search.plan.plan import Plan

# names of networks to begin a search with
STANDARD = "standard"
SUITABLE = "suitable"
NONE = "none"
FEW = 20  # networks: a shorter search begins with the standard one alone

logger = logging.getLogger(__name__)


def _words(text: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    return () if words == ("none",) else words


# name: type, placeholder of the value, usual default, help
_OPTIONS: dict[str, tuple[Callable[[str], Any], str, Any, str]] = {
    "run": (Path, "DIR", "runs/search", "folder for the results; the same command again resumes the search in it"),
    "cluster": (str, "PROFILE", "local", "where workers run: local, this machine, or a profile by name or file"),
    "workers": (int, "N", None, "processes on this machine that train networks; by default one for each GPU or core"),
    "evaluations": (int, "N", None, "end after N networks, those of an earlier start included"),
    "hours": (float, "H", None, "end after H hours"),
    "epochs": (float, "N", None, "how long each network is trained: passes over the training split"),
    "steps": (int, "N", None, "how long each network is trained: optimiser steps"),
    "seconds": (float, "S", None, "how long each network is trained: seconds"),
    "flops": (float, "N", None, "how long each network is trained: floating-point operations, such as 2e12"),
    "batch_size": (int, "N", 32, "images or patches in a step of a training"),
    "learning_rate": (float, "X", 1e-3, "size of the steps of the optimiser, Adam"),
    "schedule": (str, "KIND", "cosine", f"how the learning rate goes over the budget: {', '.join(SCHEDULES)}"),
    "precision": (str, "KIND", "float32", f"numbers that layers compute with: {', '.join(PRECISIONS)}"),
    "augment": (_words, "LIST", None, "how training images are changed, such as flip,rotate=15,noise=0.05, or none"),
    "backend": (str, "NAME", None, f"of Keras: {', '.join(BACKENDS)}; by default what KERAS_BACKEND says on a worker"),
    "wait": (float, "MINUTES", None, "end after so long without a worker (default: never on batch systems, else 30)"),
    "retrain": (float, "X", 4.0, "at the end the best and the standard network are trained X times as long; 0: not"),
    "finalists": (int, "N", 2, "how many of the best networks are trained again at the end"),
    "time_limit": (float, "S", 600.0, "a network fails if its training takes longer, start and compilation included"),
    "memory_limit": (float, "GB", 4.0, "a network fails if its training takes more memory"),
    "seed": (int, "N", 0, "seed of all random numbers"),
    "islands": (int, "N", None, "number of searches that share the run and exchange networks, for many workers"),
    "island": (int, "K", None, "be island K of the run, 0, 1, …; to start each driver yourself, without --islands"),
}  # fmt: skip
# what only a planned search has
_MORE: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "patch": (str, "PIXELS", "pixels of a patch along each spatial axis, such as 16 64 64; whole: whole images"),
    "patches": (int, "N", "patches that a training sees in an epoch"),
    "normalisation": (str, "KIND", f"what networks see of the values: {', '.join(NORMALISATIONS)}"),
    "large_images": (str, "KIND", f"classes or values of images larger than a patch: {', '.join(LARGE_IMAGES)}"),
    "max_parameters": (float, "N", "networks with more weights are not tried"),
    "max_flops": (float, "N", "networks with more FLOPs for one sample are not tried"),
    "max_memory": (float, "GB", "networks whose training step is estimated to take more memory are not tried"),
}
PLANNED = (*_MORE, *UNITS, "batch_size", "augment", "evaluations", "hours", "workers", "time_limit", "memory_limit")
_NEEDED = ("cluster", "retrain", "finalists", "seed")  # by the plan too
_TAKEN = (
    "cluster", "workers", "evaluations", "hours", "wait", "retrain", "finalists", "seed", "detach", "islands", "island",
    "track",
)  # fmt: skip
_COUNTED = (
    "workers", "evaluations", "hours", "wait", "time_limit", "memory_limit", "finalists", "islands",
    "patches", "max_parameters", "max_flops", "max_memory",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a workflow script or of the command line; see `add_options`."""

    run: Path
    cluster: str = "local"
    workers: int | None = None
    evaluations: int | None = None
    hours: float | None = None
    wait: float | None = None
    budget: Budget = Budget(epochs=10)
    augmentation: tuple[str, ...] = ()
    retrain: float = 4.0
    finalists: int = 2
    limits: Limits = Limits()
    seed: int = 0
    detach: bool = False
    islands: int | None = None
    island: int | None = None
    initial: tuple[str, ...] = ()  # empty: what suits a search of this length
    track: str | None = None
    plan: Plan | None = None

    @classmethod
    def read(cls, given: argparse.Namespace) -> Self:
        """Read the options from parsed arguments.

        Raises
        ------
        UserError
            If neither evaluations nor hours are given and none are planned, or a number is out of range.
        """
        is_planned = getattr(given, "is_planned", False)
        if given.inherit:
            logger.warning("--inherit was removed and has no effect: every network begins with new weights")
        if given.evaluations is None and given.hours is None and not is_planned:
            raise UserError("expected --evaluations or --hours (or both), got neither")
        check_counts(given)
        if given.island is not None and (given.island < 0 or given.islands is not None):
            raise UserError(f"--island: expected a number ≥ 0, and no --islands beside it, got {given.island}")
        if given.retrain < 0:
            raise UserError(f"--retrain: expected a number ≥ 0, got {given.retrain}")
        return cls(
            Path(given.run),
            **{name: getattr(given, name) for name in _TAKEN},
            budget=budget_of(given),
            augmentation=given.augment or (),
            limits=Limits() if is_planned else Limits(given.time_limit, int(given.memory_limit * 1e9)),
            initial=tuple(given.initial or ()),
        )

    def following(self, plan: Plan) -> Self:
        """Return these options with what is planned in their places."""
        return replace(
            self,
            budget=plan.problem.budget,
            augmentation=plan.problem.augmentation,
            limits=plan.limits,
            evaluations=plan.value("evaluations"),
            hours=plan.value("hours"),
            plan=plan,
        )


def add_options(parser: argparse.ArgumentParser, *, planned: bool = False, **defaults: Any) -> None:
    """Add the options that every workflow script has, with the script's own defaults by the names of the options.

    The default budget counts only if the user gives no budget in any unit. If `planned`, the options in `PLANNED` have
    no defaults: a plan has their values, see `menndl_dask.search.plan.plan.plan_search`.
    """
    if planned:
        add_plan_options(parser, needed=False)
    group = parser.add_argument_group("search")
    for name, (kind, metavar, usual, text) in _OPTIONS.items():
        if planned and name in PLANNED:
            continue
        default = defaults.get(name, usual)
        shown = text if default is None else f"{text} (default: {default})"
        if planned and name == "run":
            shown = f"{text} (default: runs/ and the name of the data)"
        given = None if name in UNITS else default
        group.add_argument(_flag(name), type=kind, default=given, metavar=metavar, help=shown)
    parser.set_defaults(usual_budget={name: defaults.get(name) for name in UNITS}, is_planned=planned)
    text = f"{STANDARD}, {SUITABLE}, {NONE}, run directories, .keras files or published networks such as resnet18"
    text = f"{text}: networks that the search begins with"
    usual = f"(default: {STANDARD}, and {SUITABLE} from {FEW} networks on)"
    group.add_argument("--initial", nargs="+", metavar="NAME", help=f"{text} {usual}")
    text = "train so that the same seed gives the same bits on the same kind of machine; slower"
    group.add_argument("--deterministic", action="store_true", help=text)
    text = "train every network to its end, also those that do not learn or are clearly worse"
    group.add_argument("--no-early-stop", action="store_true", help=text)
    text = "pass results on as they arrive: tensorboard, mlflow or wandb; its library must be installed"
    group.add_argument("--track", metavar="NAME", help=text)
    # of version 0.1.0: commands that a run or a script has recorded still work
    group.add_argument("--inherit", action="store_true", help=argparse.SUPPRESS)
    text = "submit the search itself as a batch job, followed by others until its budget is spent"
    group.add_argument("--detach", action="store_true", help=text)


def add_plan_options(parser: argparse.ArgumentParser, *, needed: bool = True) -> None:
    """Add the options that override the plan; if `needed`, the others too that a plan is made from."""
    text = "planned from the data and this machine where you do not give them; menndl check shows the plan"
    group = parser.add_argument_group("plan", text)
    for name in (*PLANNED, *(_NEEDED if needed else ())):
        usual = None
        if name in _MORE:
            kind, metavar, about = _MORE[name]
        else:
            kind, metavar, usual, about = _OPTIONS[name]
        usual = usual if name in _NEEDED else None
        about = about if usual is None else f"{about} (default: {usual})"
        nargs = "+" if name == "patch" else None
        group.add_argument(_flag(name), type=kind, default=usual, metavar=metavar, help=about, nargs=nargs)


def check_counts(given: argparse.Namespace, *more: str) -> None:
    """Check that the numbers among the options, and those of these names, are larger than 0; raises `UserError`."""
    for name in (*_COUNTED, *more):
        value = getattr(given, name, None)
        if value is not None and value <= 0:
            raise UserError(f"{_flag(name)}: expected a number > 0, got {value}")


def budget_of(given: argparse.Namespace) -> Budget:
    """Return the budget in the units that the user gave, or the script's default budget."""
    units = {name: getattr(given, name) for name in UNITS}
    if all(value is None for value in units.values()):
        units = given.usual_budget
    if all(value is None for value in units.values()) and given.is_planned:
        units = {"epochs": 10}  # until the plan says how many
    same = ("batch_size", "learning_rate", "schedule", "precision", "deterministic", "backend")
    settings = {name: value for name in same if (value := getattr(given, name)) is not None}
    budget = Budget(**units, **settings)
    return budget.without_early_stopping() if given.no_early_stop else budget


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
