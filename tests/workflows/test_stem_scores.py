"""Scores of simulated micrographs: positions found by the fixed rule, matched to the true ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from stem_material import MATERIALS, Graphene, Material
from stem_scores import AS_IN_TRAINING, Counts, Positions, count, find_atoms, match, new_frames, pixel_counts
from stem_scores import true_positions as true_of
from stem_simulation import Microscope, simulate


def positions(places: list[tuple[float, float]], kinds: list[int], counted: list[bool] | None = None) -> Positions:
    return Positions(np.array(places).reshape(-1, 2), np.array(kinds, int), np.array(counted or [True] * len(kinds)))


@pytest.mark.parametrize("material", MATERIALS.values(), ids=MATERIALS)
def test_the_rule_finds_every_atom_in_exact_labels_however_distorted_the_scan_is(material: Material) -> None:
    for seed in range(3):
        micrograph = simulate(material, 80, seed, Microscope(dirt=0.0))
        found, true = find_atoms(micrograph.label, micrograph.pixel_size), true_of(micrograph)
        assert true.counted.sum() > 10
        for kind in np.unique(true.kinds):
            counts = match(found, true, int(kind))
            assert (counts.false, counts.missed) == (0, 0)
            assert counts.right == 0 or counts.error < 0.1


def test_atoms_that_touch_are_told_apart_and_specks_are_left_out() -> None:
    label = np.zeros((60, 60), np.uint8)
    y, x = np.indices(label.shape)
    for kind, centre in ((1, (30, 25)), (2, (30, 36))):  # 1.1 Å apart, with pixels of 0.1 Å
        label[np.hypot(y - centre[0], x - centre[1]) < 5.5] = kind
    label[10, 10] = 3
    found = find_atoms(label, 0.1)
    assert found.kinds.tolist() == [1, 2]
    assert found.places == pytest.approx(np.array([[3.0, 2.5], [3.0, 3.6]]), abs=0.06)
    assert len(find_atoms(np.zeros((20, 20), np.uint8), 0.1).kinds) == 0


def test_positions_are_matched_one_to_one_within_half_an_angstrom() -> None:
    true = positions([(2, 2), (2, 4), (2, 6)], [1, 1, 2])
    found = positions([(2.1, 2), (2.3, 2), (2, 4.6), (2, 6)], [1, 1, 1, 1])
    counts = match(found, true, 1)
    assert counts == Counts(1, 3, 1, (pytest.approx(0.1),))
    assert (counts.precision, counts.recall, counts.f1, counts.iou) == (0.25, 0.5, pytest.approx(1 / 3), 0.2)
    assert match(found, true, 2) == Counts(0, 0, 1)
    assert math.isnan(match(found, true, 3).f1) and math.isnan(match(found, true, 2).error)


def test_what_lies_at_the_edge_or_under_dirt_is_not_counted() -> None:
    true = positions([(2, 2), (2, 4)], [1, 1], [False, True])
    assert match(positions([(2, 2)], [1]), true, 1) == Counts(0, 0, 1)
    assert match(positions([(0.1, 9)], [1], [False]), true, 1) == Counts(0, 0, 1)
    micrograph = simulate(Graphene(), 64, 4, Microscope(dirt=1.0))
    found, hidden = true_of(micrograph), true_of(micrograph._replace(label=np.ones_like(micrograph.label)))
    assert found.counted.sum() < hidden.counted.sum()


def test_counts_add_up_over_frames_and_exact_labels_have_no_error() -> None:
    frames = new_frames(Graphene(), Microscope(), 1, 48, 0)
    names = [frame.conditions for frame in frames]
    assert names[:4] == [AS_IN_TRAINING] * 3 + ["dose 2 (outside)"]
    assert names[4:] == [
        *("dose 4 (outside)", "dose 8", "dose 28.3", "dose 100", "dose 200 (outside)", "dose 400 (outside)"),
        *("blur 0.675 Å (outside)", "blur 0.9 Å (outside)"),
    ]
    labels = np.stack([frame.micrograph.label for frame in frames])
    found = count(frames, labels, Graphene.classes)
    pixels, places = found[AS_IN_TRAINING, 1]
    assert pixels.iou == places.f1 == 1.0
    assert pixels.right == (labels[:3] == 1).sum()
    assert pixel_counts(labels[0], np.zeros_like(labels[0]), 1).recall == 0.0
