"""Trainings on patches, scored on whole images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from menndl_dask.data.staged_images import StagedImage
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Convolution, Pooling
from menndl_dask.metric import values_of
from menndl_dask.problem import Budget, Limits, Patches, Problem
from menndl_dask.training import training
from menndl_dask.training.request import TrainingRequest
from tests.large_images import images_of_classes, images_of_pixels, problem_of_pixels
from tests.problems import problem

BUDGET = Budget(epochs=4, batch_size=8, learning_rate=1e-2, early_stopping_share=0.5, rungs=())
PIXELS = Genome((Convolution(8, normalisation="batch"), Convolution(8)))


class _Channel:
    """Takes the messages of a training together."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {"metrics": {}, "costs": {}}

    def send(self, message: dict[str, Any]) -> None:
        """Keep the latest of each message, and all metrics and costs."""
        for key, value in message.items():
            if key in ("metrics", "costs"):
                self.values[key].update(value)
            else:
                self.values[key] = value


def _trained(
    monkeypatch: pytest.MonkeyPatch,
    of: Problem,
    genome: Genome,
    splits: dict[str, Sequence[StagedImage]],
    checkpoint: Path | None = None,
    checkpoint_s: float | None = None,
    sums: str | None = None,
) -> dict[str, Any]:
    """Train in this process on images in memory."""
    monkeypatch.setattr(training.backend, "configure", lambda seed, *_: keras.utils.set_random_seed(seed))
    monkeypatch.setattr(training, "open_images", lambda directory, split: list(splits[split]))
    limits = Limits(checkpoint_s=checkpoint_s)
    path = None if checkpoint is None else str(checkpoint)
    examples = None if sums is None else f"{sums}.examples.npz"
    request = TrainingRequest(
        genome.to_dict(), of.to_dict(), limits, 3, test=True, test_sums=sums, examples=examples, checkpoint=path
    )
    channel = _Channel()
    training.run(request, channel)  # type: ignore[arg-type]
    return channel.values


def _images(*counts: int) -> dict[str, Sequence[StagedImage]]:
    names = ("train", "validation", "test")
    return {
        name: images_of_pixels([(40 + 7 * i, 60) for i in range(n)], seed=n)
        for name, n in zip(names, counts, strict=True)
    }


def test_a_network_learns_from_patches_and_is_scored_on_whole_images(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    of = replace(problem_of_pixels(per_epoch=100, validation_tiles=12), budget=BUDGET, augmentation=("flip", "shift"))
    kept = tmp_path / "contenders" / "sums.npz"
    found = _trained(monkeypatch, of, PIXELS, _images(3, 2, 4), sums=str(kept))
    assert "failure" not in found, found
    assert found["fitness"] > 0.6
    assert found["metrics"]["test_mean_iou"] > 0.6
    with np.load(kept) as there:  # the score of the split follows from those of its images
        assert set(there["source"].tolist()) == {0, 1, 2, 3}
        assert values_of("mean_iou", there["sums"].sum(axis=0)) == pytest.approx(found["metrics"]["test_mean_iou"])
    with np.load(f"{kept}.examples.npz") as there:  # parts of images, to be looked at
        assert there["image0"].shape == there["label0"].shape == there["prediction0"].shape
        share = (there["label0"] == there["prediction0"]).mean()
        assert there["score"][0] > 0.6
        assert share > 0.8
    assert found["metrics"]["test_mean_iou_error"] > 0
    assert found["point"]["epoch"] == 4
    assert found["costs"]["flops_training"] == 4 * 100 * cost_of(PIXELS, of).flops_training  # of so many patches


def test_a_network_that_learns_nothing_from_patches_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    still = replace(BUDGET, learning_rate=1e-9)
    of = replace(problem_of_pixels(per_epoch=100), budget=still, metric="accuracy")
    found = _trained(monkeypatch, of, PIXELS, _images(1, 1, 1))
    assert found["failure"] == "no_learning", found


def test_a_network_of_images_that_say_nothing_learns_nothing_by_dice(monkeypatch: pytest.MonkeyPatch) -> None:
    of = replace(problem_of_pixels(per_epoch=160), budget=BUDGET, loss="dice")
    splits = _images(2, 1, 1)
    for image in splits["train"], splits["validation"]:
        for each in image:
            each.views[0][...] = np.random.default_rng(0).normal(size=each.views[0].shape)  # type: ignore[index]
    found = _trained(monkeypatch, of, Genome((Convolution(4),)), splits)
    assert found["failure"] == "no_learning", found


def test_turned_patches_are_learnt_with_a_loss_of_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = ("flip", "rotate=45", "scale", "elastic", "brightness", "cutout=0.1")
    patched = problem_of_pixels(per_epoch=100, test_tiles=6)
    of = replace(patched, budget=BUDGET, augmentation=changes, loss="dice_crossentropy")
    found = _trained(monkeypatch, of, PIXELS, _images(3, 2, 4))
    assert "failure" not in found, found
    assert found["metrics"]["test_mean_iou"] > 0.6
    assert found["remark"].startswith("tested on 6 places")


def test_images_with_a_label_each_are_classified_by_their_windows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    genome = Genome((Convolution(8, normalisation="batch"), Pooling()))
    of = replace(
        problem(shapes=((12, 12, 1),)), patches=Patches((12, 12), per_epoch=96), large_images="vote", budget=BUDGET
    )
    splits = {name: images_of_classes(24, seed) for seed, name in enumerate(("train", "validation", "test"))}
    found = _trained(monkeypatch, of, genome, splits, sums=str(tmp_path / "sums.npz"))
    assert found["fitness"] > 0.9, found
    assert found["metrics"]["test_accuracy"] > 0.9
    with np.load(tmp_path / "sums.npz.examples.npz") as there:
        assert there["image0"].ndim == 2
        assert there["confusion"].sum() == 24


def test_a_metric_of_the_users_own_is_given_whole_images(monkeypatch: pytest.MonkeyPatch) -> None:
    of = replace(problem_of_pixels(per_epoch=40), budget=replace(BUDGET, epochs=1, early_stopping=False))
    own = replace(of, metric="tests.own_functions:share_right_of_images")
    found = [_trained(monkeypatch, each, PIXELS, _images(1, 1, 2)) for each in (own, replace(of, metric="accuracy"))]
    assert found[0]["fitness"] == pytest.approx(found[1]["fitness"])
    assert found[0]["metrics"]["test_tests.own_functions:share_right_of_images"] > 0


def test_a_resumed_training_sees_the_same_patches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    budget = replace(BUDGET, epochs=2, early_stopping=False)
    of = replace(problem_of_pixels(per_epoch=40), budget=budget)
    whole = _trained(monkeypatch, of, PIXELS, _images(1, 1, 1))
    take = training._Evaluation._take_steps
    taken = []

    def cut_off(self: Any, schedule: Any) -> None:
        if len(taken) == 4:
            self._checkpoint.due = 0.0
            raise BrokenPipeError
        take(self, schedule)
        self._checkpoint.due = 0.0  # write one after each step
        taken.append(schedule.steps)

    with monkeypatch.context() as patched:
        patched.setattr(training._Evaluation, "_take_steps", cut_off)
        cut = _trained(patched, of, PIXELS, _images(1, 1, 1), tmp_path / "checkpoint", 60.0)
        assert (cut["failure"], cut["message"][:15]) == ("error", "BrokenPipeError")
    rest = _trained(monkeypatch, of, PIXELS, _images(1, 1, 1), tmp_path / "checkpoint", 60.0)
    assert rest["resumed"].startswith("resumed from a checkpoint after ")
    assert rest["metrics"] == pytest.approx(whole["metrics"], rel=1e-4)
