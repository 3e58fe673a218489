"""The plan before a search: from the data, the options that the user gave and the machine. Runs on the driver.

`plan_search` is the one function that ``menndl check`` shows, ``menndl search`` follows and scripts may call. The rules
are in modules of their own, without data or machine; the trial is the only part that takes time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import NoneType
from typing import Any

from menndl_dask.cluster.profile import read_profile
from menndl_dask.data.data import open_problem
from menndl_dask.data.safe_augmentation import safe_augmentation
from menndl_dask.errors import UserError
from menndl_dask.genome.cost import Cost, cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.problem import UNITS, Limits, Patches, Problem
from menndl_dask.run.forecast.forecast import CostForecast
from menndl_dask.run.planned_value import GIVEN, PlannedValue, minutes_text, seconds_text
from menndl_dask.search.forecast.estimate import comparison, forecast
from menndl_dask.search.forecast.known import by_trainings, drawn
from menndl_dask.search.forecast.service_time import Timed, Work
from menndl_dask.search.plan import limit_rules, training_rules
from menndl_dask.search.plan.image_sample import ImageSample, read_sample
from menndl_dask.search.plan.machine import Machine
from menndl_dask.search.plan.trial import Trial, run_trial
from menndl_dask.space.space import SearchSpace
from menndl_dask.space.standard.standard import standard_network
from menndl_dask.text import TextTable, counted
from menndl_dask.validation import demand_kind

_TRIALS = 3
_GB = 1e9
_LEAST_EXTENT = {1: 64, 2: 32, 3: 16}  # pixels, of the longest side of a patch, by rank
_RETRAIN, _FINALISTS = 4.0, 2
_MANY = 200  # evaluations, of which the mean time says how many fit into an hour


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a search.

    Parameters
    ----------
    problem
        The problem, with the planned training.
    values
        Each planned value with its reason.
    forecast
        What the search is expected to cost; None if nothing was timed.
    """

    problem: Problem
    values: tuple[PlannedValue, ...]
    forecast: CostForecast | None = None

    def value(self, name: str) -> Any:
        """Return a planned value by the name of its option; None if the plan has none."""
        return next((each.value for each in self.values if each.name == name), None)

    @property
    def limits(self) -> Limits:
        """The limits of an evaluation."""
        memory = self.value("memory_limit")
        return Limits(float(self.value("time_limit")), None if memory is None else int(memory * _GB))

    @property
    def space(self) -> dict[str, Any]:
        """The limits of a network, for `SearchSpace.image`."""
        return space_limits({each.name: each.value for each in self.values})

    def parts(self) -> list[str | TextTable]:
        """Return the plan as a text and a table: each value and why."""
        rows = [row for each in self.values for row in each.rows()]
        return [TextTable(["value", "is", "because"], rows, (0, 1, 2), "plan of the search; options change it")]

    def text(self) -> str:
        """Return the plan in two lines."""
        patch, expected = self.value("patch"), self.value("minutes")
        size = "whole images" if patch is None else f"patches of {'×'.join(map(str, patch))}"
        shown = {each.name: each.shown for each in self.values}
        length = next((f"{shown[unit]} {unit}" for unit in UNITS if unit in shown), "")
        ends = {"evaluations": " evaluations", "hours": ""}
        searched = " or ".join(f"{shown[name]}{unit}" for name, unit in ends.items() if name in shown)
        took = "" if expected is None else f", about {minutes_text(expected)}"
        return (
            f"plan: {size}, batches of {shown['batch_size']}, {length} for each network; "
            f"loss: {self.problem.loss_name}; augmentation: {shown['augment']}\n"
            f"      {searched} on {counted(self.value('workers'), 'worker')}{took}; reasons: menndl check, or run.yaml"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the values with their reasons as a plain dict, for ``run.yaml``."""
        return {each.name: each.to_dict() for each in self.values}


def space_limits(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the planned limits of a network as `SearchSpace.image` takes them."""
    memory = values.get("max_memory")
    limits = {"max_memory_bytes": None if memory is None else memory * _GB}
    limits |= {name: values.get(name) for name in ("max_parameters", "max_flops")}
    return {name: value for name, value in limits.items() if value is not None}


def plan_search(
    problem: Problem,
    given: Mapping[str, Any] | None = None,
    machine: Machine | None = None,
    *,
    trial: bool = True,
) -> Plan:
    """Plan a search: how networks are trained, what they may cost, how many are evaluated, and how long it takes.

    Parameters
    ----------
    problem
        The problem, from `open_problem`, which has chosen the patch and the normalisation.
    given
        Values that the user gave, by the names of the options (``batch_size`` for ``--batch-size``). They are kept, and
        the others follow from them. The problem has the given patch, normalisation, loss and augmentation already.
    machine
        Where networks are trained; by default this machine, with a worker for each core.
    trial
        Whether the standard network is trained for some seconds, for the time of a step and the memory.

    Raises
    ------
    UserError
        If the trial fails for a reason for which every training would.
    """
    demand_kind("problem", problem, Problem, "a Problem, as open_problem returns it")
    demand_kind("given", given, (Mapping, NoneType), "a dict with values by the names of the options")
    demand_kind("machine", machine, (Machine, NoneType), "a Machine")
    known = {name: value for name, value in (given or {}).items() if value is not None}
    where = machine or Machine.of(read_profile("local"), known.get("workers"))
    return _Planner(problem, known, where).plan(trial and where.is_this)


@dataclass
class _Planner:
    """The plan while it is made."""

    problem: Problem
    given: Mapping[str, Any]
    machine: Machine
    values: dict[str, PlannedValue] = field(default_factory=dict)
    measured: Trial = field(default_factory=Trial)
    standard: Genome | None = None
    batch: int = 0
    smaller: str = ""  # why the batch or the patch is smaller than usual
    is_smaller_patch: bool = False
    opened_patch: tuple[int, ...] = ()  # with which the data was opened last
    forecast: CostForecast | None = None

    def plan(self, is_timed: bool) -> Plan:
        """Return the plan."""
        self._open_again()
        self._set_from_images()
        self._find_standard()
        usual = training_rules.batch_size(self.problem)
        self.batch = int(self.given.get("batch_size", usual.value))
        self._fit_memory()
        self._open_again()
        if is_timed and self.standard is not None:
            self._measure()
        self._set_length(usual)
        self._set_limits()
        order = ("patch", "batch_size", "patches", *UNITS, "normalisation", "loss", "augment", "large_images")
        names = [name for name in order if name in self.values]
        names += [name for name in self.values if name not in names]
        return Plan(self.problem, tuple(self.values[name] for name in names), self.forecast)

    def _set(self, planned: PlannedValue) -> Any:
        """Take a planned value, or the one that the user gave in its place; return the value."""
        if planned.name in self.given:
            planned = PlannedValue(planned.name, self.given[planned.name], GIVEN, given=True)
        self.values[planned.name] = planned
        return planned.value

    def _set_of_data(self, planned: PlannedValue) -> None:
        """Take a value with which the data was opened, which is the user's if there is one."""
        is_given = planned.name in self.given
        self.values[planned.name] = replace(planned, reason=GIVEN, given=True) if is_given else planned

    def _set_from_images(self) -> None:
        """Set what follows from the classes and from what some training images look like."""
        loss = self._set(training_rules.loss(self.problem))
        sample = read_sample(self.problem)
        self._set_of_data(training_rules.normalisation(self.problem))
        if self.problem.large_images is not None:
            self._set_of_data(training_rules.large_images(self.problem))
        augment = self._set(PlannedValue("augment", (), "") if "augment" in self.given else self._safe(sample))
        self.problem = replace(self.problem, loss=loss, augmentation=tuple(augment))

    def _safe(self, sample: ImageSample) -> PlannedValue:
        """Return the augmentation that is safe."""
        task, facts = self.problem.task, self.problem.facts
        size = facts.input_shapes[0][:-1]
        found = safe_augmentation(
            task, sample.images, sample.labels, sample.dims, facts.spacing, sample.dtype_kind, size
        )
        return training_rules.augmentation(found)

    def _find_standard(self) -> None:
        try:
            self.standard = standard_network(self.problem)[1]
        except UserError:  # images of a single pixel have no standard network
            self.standard = None

    def _cost(self) -> Cost:
        return cost_of(self.standard or Genome(()), self.problem)

    def _fit_memory(self) -> None:
        """Make the batch, the patch or the number of workers smaller until the standard network fits."""
        while self.machine.memory_bytes is not None:
            share = min(self.machine.memory_bytes, self.machine.gpu_bytes or math.inf)
            if limit_rules.needed_bytes(self._cost().memory_bytes(self.batch)) <= share:
                return
            why = f"smaller, so that the standard network fits into the {share / _GB:.1f} GB of a worker"
            if not self._shrink(why):
                if not (self.machine.may_change_workers and self.machine.workers > 1):
                    return
                self.machine = self.machine.with_workers(self.machine.workers - 1)

    def _shrink(self, why: str, least_batch: int = training_rules.LEAST_BATCH) -> bool:
        """Make the batch smaller, but not below `least_batch`, else the patch; tell whether that was possible."""
        if self.batch > least_batch and "batch_size" not in self.given:
            self.batch //= 2
        elif (size := self._smaller_patch()) is not None:
            self.problem, self.is_smaller_patch = _with_patch(self.problem, size), True
            self._find_standard()
        else:
            return False
        self.smaller = why
        return True

    def _smaller_patch(self) -> tuple[int, ...] | None:
        """Return a patch that is a quarter shorter where it is longest; None if that would be too small."""
        problem = self.problem
        if "patch" in self.given or not problem.by_pixel:
            return None
        size = problem.facts.input_shapes[0][:-1]
        if max(size) <= _LEAST_EXTENT[problem.rank]:
            return None
        return tuple(max(8, int(0.75 * n) // 8 * 8) if n > 0.75 * max(size) else n for n in size)

    def _measure(self) -> None:
        """Train the standard network for some seconds, with a smaller batch or patch if it is too slow or large."""
        assert self.standard is not None
        for _ in range(_TRIALS):
            self._open_again()
            budget = replace(self.problem.budget, batch_size=self.batch)
            self.measured = run_trial(replace(self.problem, budget=budget), self.standard, self.machine)
            step_s = self.measured.step_s
            if self.measured.failure:
                if not self._shrink(f"smaller, since the standard network was {self.measured.failure}"):
                    return
            elif step_s is None or not training_rules.is_slow(step_s) or not self._shrink_for_time(step_s):
                return
        self._open_again()

    def _open_again(self) -> None:
        """Read the facts of the data for a patch that was made smaller since it was opened."""
        size = self.problem.facts.input_shapes[0][:-1]
        if self.opened_patch not in ((), size):
            self.problem = reopened(self.problem)
        self.opened_patch = size

    def _shrink_for_time(self, step_s: float) -> bool:
        size = "" if self.problem.patches is None else f" patches of {_size_text(self.problem)}"
        why = f"smaller, since a step took {seconds_text(step_s)} with a batch of {self.batch}{size}"
        is_smaller = False
        expected, volume = step_s, self._volume()
        least = self.batch if "batch_size" in self.given else training_rules.GOOD_BATCH
        while training_rules.is_slow(expected) and self.batch > least:
            is_smaller = self._shrink(why, least)
            expected = step_s * self._volume() / volume
        # batch normalisation needs some samples: the patch becomes smaller before the batch is smallest
        for least in (training_rules.GOOD_BATCH, training_rules.LEAST_BATCH):
            while training_rules.is_too_slow(expected) and self._shrink(why, least):
                is_smaller = True
                expected = step_s * self._volume() / volume
        return is_smaller

    def _volume(self) -> float:
        return self._cost().flops_training * self.batch

    def _set_length(self, usual: PlannedValue) -> None:
        """Set patch, batch, epochs, and the budget of the problem."""
        problem, step_s = self.problem, self.measured.step_s
        self._set_of_data(training_rules.patch(problem))
        if self.smaller and self.batch != usual.value:
            usual = PlannedValue("batch_size", self.batch, self.smaller)
        if self.is_smaller_patch:
            patch = self.values["patch"]
            self.values["patch"] = replace(patch, reason=f"{patch.reason}; {self.smaller}")
        self._set(replace(usual, value=self.batch))
        wanted = training_rules.steps(problem, self.batch, step_s)
        per_epoch, epochs = training_rules.length(problem, self.batch, wanted, self.given.get("patches"))
        units: dict[str, Any] = {name: self.given[name] for name in UNITS if name in self.given}
        if problem.patches is not None and per_epoch is not None:
            patches = replace(
                problem.patches,
                per_epoch=per_epoch,
                validation_tiles=training_rules.validation_tiles(
                    problem.patches.validation_tiles, wanted * self.batch
                ),
                test_tiles=training_rules.test_tiles(problem.patches.test_tiles, wanted * self.batch),
            )
            problem = replace(problem, patches=patches)
            self._set(PlannedValue("patches", per_epoch, f"{per_epoch // self.batch} steps an epoch; new ones in each"))
        if units:
            for name, value in units.items():
                self._set(PlannedValue(name, value, ""))
        else:
            samples = per_epoch or problem.facts.samples[0]
            total = round(epochs * -(-samples // self.batch))
            slow = step_s is not None and training_rules.is_too_slow(1.2 * step_s)
            self._set(PlannedValue("epochs", epochs, training_rules.length_reason(total, step_s, slow=slow)))
            units = {"epochs": float(epochs)}
        changes: dict[str, Any] = {"batch_size": self.batch, **{name: units.get(name) for name in UNITS}}
        self.problem = replace(problem, budget=replace(problem.budget, **changes))

    def _set_limits(self) -> None:
        """Set what a network may cost, how many are evaluated, and the time that is expected."""
        cost, machine, measured = self._cost(), self.machine, self.measured
        framework = limit_rules.FRAMEWORK_BYTES if measured.framework_bytes is None else measured.framework_bytes
        framework = max(framework, limit_rules.FRAMEWORK_BYTES)
        needed = limit_rules.needed_bytes(cost.memory_bytes(self.batch), framework)
        self._set(limit_rules.max_parameters(cost))
        timed = None
        if self.standard is not None and measured.step_s is not None:
            timed = Timed(Work.of(self.standard, self.problem), measured.step_s, measured.other_s)
        training_s = None if timed is None else min(timed.work.steps * timed.step_s, self._seconds)
        self._set(limit_rules.max_flops(cost, training_s))
        limit = float(self._set(limit_rules.memory_limit(machine.memory_bytes, needed)))
        self._set(limit_rules.max_memory(limit, framework, machine.gpu_bytes))
        network_s = None if training_s is None else training_s + measured.other_s
        self._set(limit_rules.time_limit(network_s))
        self._set(PlannedValue("workers", machine.workers, self._workers_reason()))
        self._set_amount(timed)

    def _set_amount(self, timed: Timed | None) -> None:
        """Set how many networks are evaluated, and forecast the time."""
        workers, hours = self.machine.workers, self.given.get("hours")
        basis = None
        if timed is not None:
            limits = space_limits({name: each.value for name, each in self.values.items()})
            genomes = drawn(SearchSpace.image(self.problem, **limits)) or [self.standard or Genome(())]
            others = "alone" if workers == 1 or self.machine.gpus else f"{workers} at a time"
            basis = by_trainings(self.problem, [timed], genomes, f"a trial of the standard network, {others}")
        if hours is not None:
            self._set(PlannedValue("hours", None, ""))
        if hours is None or "evaluations" in self.given:
            mean_s = None if basis is None else forecast(self.problem, basis, workers=workers, evaluations=_MANY)
            self._set(limit_rules.evaluations(None if mean_s is None else mean_s.network_s.value, workers))
        if basis is not None:
            number = self.values["evaluations"].value if "evaluations" in self.values else None
            retrain, finalists = self.given.get("retrain", _RETRAIN), self.given.get("finalists", _FINALISTS)
            after = comparison(
                basis.times, self.problem, self.standard or Genome(()), workers=workers, retrain=retrain,
                finalists=finalists,
            )  # fmt: skip
            self.forecast = forecast(
                self.problem, basis, workers=workers, evaluations=number, hours=hours,
                nodes=self.machine.nodes, comparison_s=after,
            )  # fmt: skip
        self.values["minutes"] = limit_rules.minutes(self.forecast, hours)

    @property
    def _seconds(self) -> float:
        """Seconds that a training may take."""
        return math.inf if self.problem.budget.seconds is None else self.problem.budget.seconds

    def _workers_reason(self) -> str:
        machine = self.machine
        memory = "" if machine.memory_bytes is None else f", {machine.memory_bytes / _GB:.1f} GB of memory each"
        if not machine.is_this:
            return f"of the cluster profile{memory}"
        each = machine.described or "one for each GPU" if machine.gpus else f"{counted(machine.cores, 'core')} each"
        return f"{each}{memory}"


def _size_text(problem: Problem) -> str:
    return "×".join(map(str, problem.facts.input_shapes[0][:-1]))


def _with_patch(problem: Problem, size: tuple[int, ...]) -> Problem:
    """Return a problem with another patch, for estimates; its facts are those of the former one."""
    shapes = tuple((*size, shape[-1]) for shape in problem.facts.input_shapes)
    gap = tuple(side // 2 for side in size)
    patches = Patches(size, gap=gap) if problem.patches is None else replace(problem.patches, size=size, gap=gap)
    return replace(problem, facts=replace(problem.facts, input_shapes=shapes), patches=patches)


def reopened(problem: Problem, **changes: Any) -> Problem:
    """Return a problem as its data gives it with other values, such as another patch; its loss and budget are kept."""
    names = (
        "task", "inputs", "label", "loss", "metric", "metric_mode", "ignore", "class_weight", "group", "objectives",
        "constraints", "augmentation", "normalisation", "large_images", "budget", "seed",
    )  # fmt: skip
    given = {name: getattr(problem, name) for name in names}
    return open_problem(problem.data, **{**given, "patch": patch_of(problem), **changes})


def patch_of(problem: Problem) -> tuple[int, ...] | str | None:
    """Return the patch with which `open_problem` opens a problem as it is."""
    if problem.patches is not None:
        size, gap = problem.patches.size, problem.patches.gap
        # a small image, which `open_problem` divides with another gap if it chooses the patch by itself
        is_chosen = gap and gap != tuple(side // 2 for side in size)
        return None if is_chosen else size
    if problem.large_images == "resize":
        return problem.facts.input_shapes[0][:-1]
    return "whole" if problem.by_pixel else None
