"""One evaluation, from data to measures. Runs in the process that the trainer forks, or in a fresh interpreter."""

from __future__ import annotations

import gc
import math
import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import psutil
from numpy.typing import NDArray

from menndl_dask import backend
from menndl_dask.adam import make_optimizer
from menndl_dask.appraisal import Appraisal, Look
from menndl_dask.augmentation import Augmentation
from menndl_dask.checkpoint import Checkpoint, State, restore
from menndl_dask.child import Channel, last_line
from menndl_dask.cost import cost_of
from menndl_dask.course import Course
from menndl_dask.decoder import decode
from menndl_dask.errors import InfeasibleError, MenndlError
from menndl_dask.genome import Genome
from menndl_dask.loop import make_loop
from menndl_dask.loss import Loss
from menndl_dask.metric import to_fitness
from menndl_dask.problem import Budget, Problem
from menndl_dask.sample import open_staged
from menndl_dask.task import Task
from menndl_dask.training_gene import Training
from menndl_dask.verdict import shows_learning
from menndl_dask.words import error_name

_RESIDENT_SHARE = 0.25  # of the memory that there is, for the training split
_OUT_OF_MEMORY = ("MemoryError", "ResourceExhaustedError", "OutOfMemoryError")
_OUT_OF_MEMORY_WORDS = ("RESOURCE_EXHAUSTED", "OOM when allocating")


class _Ended(Exception):  # noqa: N818 - an outcome, not an error
    """The training has come to an end that is an outcome of its own."""

    def __init__(self, failure: str, message: str) -> None:
        super().__init__(message)
        self.failure = failure


def run(task: Task, channel: Channel) -> None:
    """Evaluate, and tell a channel about it in messages that `Record.update` reads, the outcome last."""
    sys.path.extend(path for path in task.path if path not in sys.path)
    try:
        message: dict[str, Any] = {"fitness": _Evaluation(task, channel).run()}
    except BrokenPipeError:
        raise  # nobody listens
    except BaseException as error:  # noqa: BLE001 - a user's code may raise anything, SystemExit included
        message = {"failure": _failure(error), "message": _words(error), "trace": traceback.format_exc()}
    channel.send(message)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Spare the garbage collector what is made meanwhile, a graph of many objects that all remain."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class _Evaluation:
    """The phases of an evaluation, in order."""

    def __init__(self, task: Task, channel: Channel) -> None:
        self._task, self._channel = task, channel
        self._phase("data")
        self._problem = Problem.from_dict(task.problem)
        self._genome = Genome.from_dict(task.genome)
        self._budget = _budget(self._genome, self._problem.budget)
        self._train_split = open_staged(Path(task.data), "train")
        self._validation_split = open_staged(Path(task.data), "validation")
        self._flops_before = self._flops_spent = 0.0  # before: of a training that diverged with 16 bits
        self._again = ""
        self._checkpoint = Checkpoint(task)

    def run(self) -> float:
        """Build, train and measure the network; return its fitness."""
        self._phase("build")
        backend.configure(self._task.seed, self._budget.deterministic)
        self._cost = cost_of(self._genome, self._problem)
        self._tell(costs={"parameters": self._cost.parameters, "flops_forward": self._cost.flops_forward})
        model, fitness = self._trained()
        if self._task.test:
            name = f"test_{self._problem.metric_name}"
            value, error = self._appraisal.tested(open_staged(Path(self._task.data), "test"))
            self._tell(metrics={name: value} if error is None else {name: value, error_name(name): error})
        latency = self._appraisal.latency_ms(self._validation_split)
        self._tell(costs={"latency_ms": latency, "memory_bytes": _peak_memory()})
        self._save(model, fitness)
        return fitness

    def _trained(self) -> tuple[keras.Model, float]:
        """Return the trained network and its fitness; one that diverges with 16 bits gets a second training with 32."""
        precision = self._budget.precision
        found = self._checkpoint.read()
        if found is not None and found[0].again:  # it had diverged already
            self._again, self._flops_before, precision = found[0].again, found[0].flops_before, "float32"
            self._tell(again=self._again)
        if precision != "float32":
            try:
                return self._trained_in(precision, found)
            except _Ended as end:
                if end.failure != "diverged":
                    raise
                self._again = f"trained in float32, because in {precision} it diverged: {end}"
                self._tell(again=self._again)
            self._flops_before, found = self._flops_spent, None
            self._phase("build")
        return self._trained_in("float32", found)

    def _trained_in(self, precision: str, found: tuple[State, list[Any]] | None) -> tuple[keras.Model, float]:
        model = decode(self._genome, self._problem, self._task.seed, precision)
        self._prepare(model, precision)
        samples, looked_at = len(self._train_split.labels), len(self._validation_split.labels)
        course = Course(self._budget, samples, self._cost.flops_training, looked_at)
        self._curve: list[Mapping[str, float]] = []
        self._metrics: dict[str, float] = {}
        self._losses = np.zeros(0)  # since the last look
        self._order: NDArray[Any] | None = None
        if found is not None and restore(self._variables, found[1]):
            self._go_on(course, found[0])
        self._checkpoint.begin()
        return model, self._train(course)

    def _go_on(self, course: Course, state: State) -> None:
        """Put the training to where another process had come."""
        course.resume(state.course)
        self._curve, self._metrics = list(state.curve), dict(state.metrics)
        self._losses = np.array(state.losses)
        told = f"went on from a checkpoint after {course.epoch:.3g} epochs"
        self._tell(resumed=told, curve=self._curve, metrics=self._metrics, seconds=course.seconds)

    def _phase(self, name: str) -> None:
        self._tell(phase=name, at=time.monotonic())

    def _tell(self, **message: Any) -> None:
        self._channel.send(message)

    @_uncollected()
    def _prepare(self, model: keras.Model, precision: str) -> None:
        budget, samples = self._budget, self._train_split
        optimizer = make_optimizer(budget.optimizer, budget.learning_rate, budget.weight_decay, precision)
        augmentation = Augmentation(self._problem, self._task.seed) if self._problem.augmentation else None
        self._optimizer = optimizer
        loss = Loss(self._problem)
        room = _RESIDENT_SHARE * (self._task.limits.memory_bytes or psutil.virtual_memory().available)
        self._loop = make_loop(
            model, loss, optimizer, samples.images, samples.labels, budget.batch_size, room, augmentation,
            is_timed=not budget.deterministic,
        )
        self._appraisal = Appraisal(self._problem, loss, self._loop, self._cost, budget.batch_size)
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
        self._variables = [*model.variables, *optimizer.variables, *(augmentation.variables if augmentation else ())]

    def _train(self, course: Course) -> float:
        """Spend the budget, and look at the validation split now and then; return the last fitness.

        The fitness is that of the last weights, not the best seen on the way: the maximum of many looks at one small
        split favours networks whose fitness jumps about.
        """
        while True:
            self._take_steps(course)
            if course.look_is_due:
                self._phase("measure")
                look, fitness = self._look(course)
                if course.is_over:
                    return fitness
                self._give_verdicts(course, look, fitness)
                self._losses = np.zeros(0)
            if self._checkpoint.is_due:
                self._phase("checkpoint")
                self._write_checkpoint(course)

    def _take_steps(self, course: Course) -> None:
        """Take the steps until the next look, or until a checkpoint is due."""
        if course.is_epoch_end or self._order is None:
            # of each epoch by itself, so that a training that goes on elsewhere has the same
            self._order = np.random.default_rng([self._task.seed, course.epochs]).permutation(course.samples)
        self._phase("train")
        started = time.time()
        deadline = min(started + course.seconds_left(), self._checkpoint.due)
        self._optimizer.learning_rate = self._budget.learning_rate * course.rate
        losses = self._loop.run(course.next_samples(self._order), deadline)
        course.advance(len(losses), time.time() - started)
        self._losses = np.concatenate([self._losses, losses])
        self._flops_spent = self._flops_before + self._cost.flops_training * course.samples_seen
        self._tell(costs={"flops_training": self._flops_spent})
        if not math.isfinite(losses[-1]):
            raise _Ended("diverged", f"the loss became {losses[-1]} in step {course.steps}")

    def _write_checkpoint(self, course: Course) -> None:
        losses = self._losses.tolist()
        state = State(course.state(), losses, self._curve, self._metrics, self._again, self._flops_before)
        self._checkpoint.write(state, self._variables)

    def _look(self, course: Course) -> tuple[Look, float]:
        """Judge the validation split and add a point to the learning curve; return what was seen, and the fitness."""
        is_asked = course.verdict_is_due and not course.is_over
        look = self._appraisal.judge(self._validation_split, compared=is_asked)
        fitness = to_fitness(self._problem, look.value)
        if not (math.isfinite(look.loss) and math.isfinite(fitness)):
            raise _Ended("diverged", f"on the validation split the loss was {look.loss} and the fitness {fitness}")
        point = {
            "epoch": course.epoch,
            "share": min(1.0, course.share),
            "seconds": course.seconds,
            "loss": float(np.mean(self._losses_of_epoch(course))),
            "val_loss": look.loss,
            "fitness": fitness,
        }
        self._curve.append(point)
        self._metrics = {"loss": look.loss, self._problem.metric_name: look.value}
        self._tell(point=point, metrics=self._metrics)
        return look, fitness

    def _losses_of_epoch(self, course: Course) -> NDArray[Any]:
        """Return the losses of the steps since the last look, at most of the last epoch."""
        return self._losses[-course.epoch_steps :]

    def _give_verdicts(self, course: Course, look: Look, fitness: float) -> None:
        """End the training where it is time for a verdict, and that is against it."""
        if course.verdict_is_due:
            course.verdict_was_given()
            self._ask_for_learning(course, look, fitness)
        passed = course.passed_rungs()
        bars = [bar for bar in self._task.bars if bar.share in passed]
        if not bars:
            return
        costs = {"parameters": float(self._cost.parameters), "flops_forward": self._cost.flops_forward}
        if any("latency_ms" in bar.costs for bar in bars):
            costs["latency_ms"] = self._appraisal.latency_ms(self._validation_split)
        costs["memory_bytes"] = _peak_memory()
        for bar in bars:
            if bar.stops(fitness, costs):
                self._tell(costs=costs)
                reached = f"after {course.epoch:.3g} epochs its fitness was {fitness:.4g}, below {bar.fitness:.4g}"
                raise _Ended("hopeless", f"{reached}: {bar.why}")

    def _ask_for_learning(self, course: Course, look: Look, fitness: float) -> None:
        signs = self._appraisal.signs(
            look, self._validation_split, self._train_split.labels, self._losses_of_epoch(course)
        )
        if not shows_learning(signs):
            raise _Ended(
                "no_learning",
                f"after {course.epoch:.3g} epochs neither the fitness ({fitness:.4g}) nor the loss was better than the "
                "constant predictor's beyond noise",
            )

    def _save(self, model: keras.Model, fitness: float) -> None:
        aside, above = self._task.aside(os.getpid()), self._task.save_above
        if aside is None or self._task.save is None or (above is not None and fitness <= above):
            return
        if self._budget.precision != "float32":  # what is saved computes in float32 throughout
            copy = decode(self._genome, self._problem, self._task.seed)
            copy.set_weights(model.get_weights())
            model = copy
        try:
            aside.parent.mkdir(parents=True, exist_ok=True)
            model.save(aside)
            aside.replace(self._task.save)
        except OSError as error:  # a full disk is no network's fault: what it has reached is known
            self._tell(remark=f"the network could not be saved: {error.strerror or error}")


def _budget(genome: Genome, budget: Budget) -> Budget:
    """Return the budget with what the genome's training gene says."""
    for gene in genome.settings:
        if isinstance(gene, Training):
            return replace(
                budget, optimizer=gene.optimizer, learning_rate=gene.learning_rate, batch_size=gene.batch_size,
                weight_decay=gene.weight_decay,
            )
    return budget


def _peak_memory() -> int:
    """Return the largest resident memory of this process so far, in bytes; mapped files not counted, on Linux."""
    status = Path("/proc/self/status")
    if status.exists():
        # not `getrusage`: after a fork that is the parent's
        lines = (line.split() for line in status.read_text().splitlines())
        sizes = {words[0]: int(words[1]) * 1024 for words in lines if words[0] in ("VmHWM:", "RssFile:")}
        return sizes["VmHWM:"] - sizes["RssFile:"]  # mapped samples stay mapped
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS


def _failure(error: BaseException) -> str:
    """Return the kind of failure that an exception is."""
    if isinstance(error, _Ended):
        return error.failure
    if isinstance(error, InfeasibleError):
        return "infeasible"
    names = {kind.__name__ for kind in type(error).__mro__}
    if names.intersection(_OUT_OF_MEMORY) or any(words in str(error) for words in _OUT_OF_MEMORY_WORDS):
        return "out_of_memory"
    return "error"


def _words(error: BaseException) -> str:
    """Return an exception in a line: our own as it is, others with their kind and place."""
    return str(error) if isinstance(error, (_Ended, MenndlError)) else last_line(error)
