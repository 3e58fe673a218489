"""One training: reads the samples, builds, trains and scores the network. Runs in the training process."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import psutil
from numpy.typing import NDArray

from menndl_dask import files, own_code
from menndl_dask.data.staged_images import StagedImage, open_images
from menndl_dask.data.staged_samples import Samples, open_staged
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model.decoder import decode
from menndl_dask.genome.keras_model.network_file import load_network, record_kinds
from menndl_dask.genome.training_gene import Training
from menndl_dask.metric import to_fitness
from menndl_dask.problem import Budget, Problem
from menndl_dask.text import error_name
from menndl_dask.training import backend
from menndl_dask.training.augmentation import Augmentation
from menndl_dask.training.batches import Source, WholeSamples
from menndl_dask.training.checkpoint import Checkpoint, State, restore
from menndl_dask.training.failure import Ended, outcome_of
from menndl_dask.training.loop import make_loop
from menndl_dask.training.loss import Loss
from menndl_dask.training.optimizer import make_optimizer
from menndl_dask.training.patches import PatchSource
from menndl_dask.training.request import TrainingRequest, make_network_folder
from menndl_dask.training.schedule import TrainingSchedule
from menndl_dask.training.scoring.examples import Examples
from menndl_dask.training.scoring.significance import shows_learning
from menndl_dask.training.scoring.split_prediction import SplitPrediction
from menndl_dask.training.scoring.validation import ValidationScores, Validator
from menndl_dask.training.weight_average import WeightAverage

if TYPE_CHECKING:
    from menndl_dask.evaluation.channel import Channel

_RESIDENT_SHARE = 0.25  # of the memory, for the training split


def run(request: TrainingRequest, channel: Channel) -> None:
    """Run a training and send its messages, the outcome last, for `ResultBuilder.update`."""
    sys.path.extend(path for path in request.path if path not in sys.path)
    own_code.allow([own_code.ALL])  # the driver has looked at what it asks for
    channel.send(outcome_of(lambda: _Evaluation(request, channel).run()))


class _Evaluation:
    """The phases of a training, in order."""

    def __init__(self, request: TrainingRequest, channel: Channel) -> None:
        self._request, self._channel = request, channel
        self._phase("data")
        self._problem = Problem.from_dict(request.problem)
        self._genome = Genome.from_dict(request.genome)
        self._budget = _budget(self._genome, self._problem.budget)
        self._train_split, self._validation_split = self._open("train"), self._open("validation")
        self._flops_before = self._flops_spent = 0.0  # before: by a training that diverged with 16 bits
        self._restarted = ""
        self._checkpoint = Checkpoint(request)

    def run(self) -> float:
        """Build, train and measure the network; return its fitness."""
        self._phase("build")
        backend.configure(self._request.seed, self._budget.deterministic, self._request.gpu_bytes)
        self._cost = cost_of(self._genome, self._problem)
        keras.ops.convert_to_numpy(keras.ops.zeros(1))  # what the framework keeps for itself is there from now on
        costs = {"parameters": self._cost.parameters, "flops_forward": self._cost.flops_forward}
        self._tell(costs={**costs, "framework_bytes": _peak_memory()})
        model, fitness = self._trained() if self._request.trained is None else self._loaded(self._request.trained)
        if self._request.test:
            name = f"test_{self._problem.metric_name}"
            split = self._test_split()
            sums = None if self._request.test_sums is None else self._validator.no_sums(split)
            examples = None if self._request.examples is None else Examples(self._problem, split.units)
            value, error = self._validator.score_with_error(split, sums, examples)
            self._tell(metrics={name: value} if error is None else {name: value, error_name(name): error})
            if sums is not None and self._request.test_sums is not None:
                self._keep(self._request.test_sums, sums=sums, source=split.sources)
            if examples is not None and self._request.examples is not None:
                self._keep(self._request.examples, source=split.sources[examples.units], **examples.arrays())
        latency = self._validator.latency_ms(self._validation)
        self._tell(costs={"latency_ms": latency, "memory_bytes": _peak_memory()})
        self._save(model, fitness)
        return fitness

    def _trained(self) -> tuple[keras.Model, float]:
        """Return the trained network and its fitness; one that diverges with 16 bits gets a second training with 32."""
        precision = self._budget.precision
        found = self._checkpoint.read()
        if found is not None and found[0].restarted:  # it had diverged
            self._restarted, self._flops_before, precision = found[0].restarted, found[0].flops_before, "float32"
            self._tell(restarted=self._restarted)
        if precision != "float32":
            try:
                return self._trained_in(precision, found)
            except Ended as end:
                if end.failure != "diverged":
                    raise
                self._restarted = f"trained in float32, because in {precision} it diverged: {end}"
                self._tell(restarted=self._restarted)
            self._flops_before, found = self._flops_spent, None
            self._phase("build")
        return self._trained_in("float32", found)

    def _loaded(self, path: str) -> tuple[keras.Model, float]:
        """Return the network that an earlier training has saved, and its fitness."""
        model = decode(self._genome, self._problem, self._request.seed)
        self._prepare(model, "float32")
        model.set_weights(load_network(path).get_weights())
        scores = self._validator.validate(self._validation)
        self._tell(metrics={"loss": scores.loss, self._problem.metric_name: scores.value})
        return model, to_fitness(self._problem, scores.value)

    def _trained_in(self, precision: str, found: tuple[State, list[Any]] | None) -> tuple[keras.Model, float]:
        model = decode(self._genome, self._problem, self._request.seed, precision)
        self._prepare(model, precision)
        samples, predicted = len(self._source), self._validation.predicted
        schedule = TrainingSchedule(self._budget, samples, self._cost.flops_training, predicted)
        self._curve: list[Mapping[str, float]] = []
        self._metrics: dict[str, float] = {}
        self._losses = np.zeros(0)  # since the last validation
        self._order: NDArray[Any] | None = None
        if found is not None and restore(self._variables, found[1]):
            self._resume(schedule, found[0])
        self._checkpoint.begin()
        return model, self._train(schedule)

    def _resume(self, schedule: TrainingSchedule, state: State) -> None:
        """Continue the training of another process from its checkpoint."""
        schedule.resume(state.schedule)
        self._curve, self._metrics = list(state.curve), dict(state.metrics)
        self._losses = np.array(state.losses)
        resumed = f"resumed from a checkpoint after {schedule.epoch:.3g} epochs"
        self._tell(resumed=resumed, curve=self._curve, metrics=self._metrics, seconds=schedule.seconds)

    def _phase(self, name: str) -> None:
        self._tell(phase=name, at=time.monotonic())

    def _tell(self, **message: Any) -> None:
        self._channel.send(message)

    def _open(self, split: str) -> Samples | list[StagedImage]:
        opened = open_staged if self._problem.patches is None else open_images
        return opened(Path(self._request.data), split)

    def _prepare(self, model: keras.Model, precision: str) -> None:
        budget, seed = self._budget, self._request.seed
        optimizer = make_optimizer(budget.optimizer, budget.learning_rate, budget.weight_decay, precision)
        augmentation = Augmentation(self._problem, seed) if self._problem.augmentation else None
        self._optimizer = optimizer
        if isinstance(self._train_split, Samples):
            self._source: Source = WholeSamples(self._train_split, seed)
        else:
            margin = None if augmentation is None else augmentation.margin
            self._source = PatchSource(self._train_split, self._problem, seed, margin)
        loss = Loss(self._problem)
        memory_bytes = _RESIDENT_SHARE * (self._request.limits.memory_bytes or psutil.virtual_memory().available)
        self._loop = make_loop(
            model, loss, optimizer, self._source, budget.batch_size, memory_bytes, augmentation,
            is_timed=not budget.deterministic,
        )
        self._validator = Validator(self._problem, loss, self._loop, self._cost, budget.batch_size, self._source)
        tiles = None if self._problem.patches is None else self._problem.patches.validation_tiles
        self._validation = self._validator.predicting(self._validation_split, tiles)
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
        self._average = WeightAverage(model.variables if budget.average_weights else [])
        self._variables = [*model.variables, *optimizer.variables, *(augmentation.variables if augmentation else ())]
        self._variables += self._average.variables

    def _test_split(self) -> SplitPrediction:
        """Return how the test split is predicted, and say so if only a part of it is."""
        patches = self._problem.patches
        if patches is None or patches.test_tiles is None:
            return self._validator.predicting(self._open("test"))
        split = self._validator.predicting(self._open("test"), patches.test_tiles)
        self._tell(remark=f"tested on {split.predicted} places of the test split, which is too large as a whole")
        return split

    def _train(self, schedule: TrainingSchedule) -> float:
        """Train until the budget is used up, with validations; return the last fitness.

        The fitness is that of the averaged weights at the end, not the best of all validations: the maximum over many
        validations on one small split favours networks whose fitness fluctuates.
        """
        while True:
            self._take_steps(schedule)
            if schedule.validation_is_due:
                self._phase("measure")
                scores, fitness = self._validate(schedule)
                if schedule.is_over:
                    self._average.exchange()  # it is what was scored
                    return fitness
                self._stop_early(schedule, scores, fitness)
                self._losses = np.zeros(0)
            if self._checkpoint.is_due:
                self._phase("checkpoint")
                state = State(
                    schedule.state(), self._losses.tolist(), self._curve, self._metrics, self._restarted,
                    self._flops_before,
                )  # fmt: skip
                self._checkpoint.write(state, self._variables)

    def _take_steps(self, schedule: TrainingSchedule) -> None:
        """Take the steps until the next validation, or until a checkpoint is due."""
        if schedule.is_epoch_end or self._order is None:
            self._order = self._source.order(schedule.epochs)  # the same in a resumed training
        self._phase("train")
        started = time.monotonic()
        deadline = min(started + schedule.seconds_left(), self._checkpoint.due)
        self._optimizer.learning_rate = self._budget.learning_rate * schedule.rate_factor
        losses = self._loop.run(schedule.next_samples(self._order), deadline)
        schedule.advance(len(losses), time.monotonic() - started)
        self._average.update(schedule.steps - len(losses), schedule.steps)
        self._losses = np.concatenate([self._losses, losses])
        self._flops_spent = self._flops_before + self._cost.flops_training * schedule.samples_seen
        self._tell(costs={"flops_training": self._flops_spent})
        if not math.isfinite(losses[-1]):
            raise Ended("diverged", f"the loss became {losses[-1]} in step {schedule.steps}")

    def _validate(self, schedule: TrainingSchedule) -> tuple[ValidationScores, float]:
        """Score the validation split and add a point to the learning curve; return the scores and the fitness."""
        compared = schedule.learning_check_is_due and not schedule.is_over
        with self._average.in_place():
            scores = self._validator.validate(self._validation, compared=compared)
        fitness = to_fitness(self._problem, scores.value)
        if not (math.isfinite(scores.loss) and math.isfinite(fitness)):
            raise Ended("diverged", f"on the validation split the loss was {scores.loss} and the fitness {fitness}")
        point = {
            "epoch": schedule.epoch,
            "share": min(1.0, schedule.share),
            "seconds": schedule.seconds,
            "loss": float(np.mean(self._losses_of_epoch(schedule))),
            "val_loss": scores.loss,
            "fitness": fitness,
        }
        self._curve.append(point)
        self._metrics = {"loss": scores.loss, self._problem.metric_name: scores.value}
        self._tell(point=point, metrics=self._metrics)
        return scores, fitness

    def _losses_of_epoch(self, schedule: TrainingSchedule) -> NDArray[Any]:
        """Return the losses of the steps since the last validation, at most those of an epoch."""
        return self._losses[-schedule.epoch_steps :]

    def _stop_early(self, schedule: TrainingSchedule, scores: ValidationScores, fitness: float) -> None:
        """End the training if it has learnt nothing, or is below a threshold of a rung that it has passed."""
        if schedule.learning_check_is_due:
            schedule.learning_was_checked()
            self._check_learning(schedule, scores, fitness)
        passed = schedule.passed_rungs()
        thresholds = [threshold for threshold in self._request.thresholds if threshold.share in passed]
        if not thresholds:
            return
        costs = {"parameters": float(self._cost.parameters), "flops_forward": self._cost.flops_forward}
        if any("latency_ms" in threshold.costs for threshold in thresholds):
            costs["latency_ms"] = self._validator.latency_ms(self._validation)
        costs["memory_bytes"] = _peak_memory()
        for threshold in thresholds:
            if threshold.stops(fitness, costs):
                self._tell(costs=costs)
                below = f"its fitness was {fitness:.4g}, below {threshold.fitness:.4g}"
                raise Ended("pruned", f"after {schedule.epoch:.3g} epochs {below}: {threshold.why}")

    def _check_learning(self, schedule: TrainingSchedule, scores: ValidationScores, fitness: float) -> None:
        evidence = self._validator.learning_evidence(scores, self._losses_of_epoch(schedule))
        if not shows_learning(evidence):
            better = "was better than the constant predictor's beyond noise"
            neither = f"neither the fitness ({fitness:.4g}) nor the loss {better}"
            raise Ended("no_learning", f"after {schedule.epoch:.3g} epochs {neither}")

    def _keep(self, file: str, **arrays: Any) -> None:
        """Write what the test has left beside its score."""
        path = Path(file)
        try:
            make_network_folder(path.parent)
            with files.replacing(path) as partial, os.fdopen(files.create(partial), "wb") as opened:
                np.savez_compressed(opened, **arrays)
        except OSError as error:  # a full disk must not fail the network
            self._tell(remark=f"{path.name} of the test split could not be kept: {error.strerror or error}")

    def _save(self, model: keras.Model, fitness: float) -> None:
        partial, above = self._request.partial_path, self._request.save_above
        if partial is None or self._request.save is None or (above is not None and fitness <= above):
            return
        if self._budget.precision != "float32":  # the saved network computes in float32
            copy = decode(self._genome, self._problem, self._request.seed)
            copy.set_weights(model.get_weights())
            model = copy
        try:
            make_network_folder(partial.parent)
            model.save(partial)
            record_kinds(partial, self._genome.kinds_of_users)
            files.flush(partial)
            partial.replace(self._request.save)
        except OSError as error:  # a full disk must not fail the network
            self._tell(remark=f"the network could not be saved: {error.strerror or error}")


def _budget(genome: Genome, budget: Budget) -> Budget:
    """Return the budget with the settings of the genome's training gene, if it has one."""
    for gene in genome.settings:
        if isinstance(gene, Training):
            return replace(
                budget, optimizer=gene.optimizer, learning_rate=gene.learning_rate, batch_size=gene.batch_size,
                weight_decay=gene.weight_decay,
            )
    return budget


def _peak_memory() -> int:
    """Return the peak resident memory of this process in bytes; on Linux without mapped files."""
    status = Path("/proc/self/status")
    if status.exists():
        # not `getrusage`, which counts the parent's after a fork
        lines = (line.split() for line in status.read_text().splitlines())
        sizes = {words[0]: int(words[1]) * 1024 for words in lines if words[0] in ("VmHWM:", "RssFile:")}
        return sizes["VmHWM:"] - sizes["RssFile:"]  # the mapped samples are still mapped
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS
