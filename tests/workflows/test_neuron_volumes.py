"""Volumes of four layouts: images, boundaries, neurons, the test volume, and the data set that is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from neuron_volumes import FILL, Volume, divide, read_volumes, write_volumes
from skimage.segmentation import find_boundaries

from menndl_dask import UserError, open_problem
from tests.neuron_files import image_of, neurons, write_cremi, write_flyem, write_stacks

NUMBERS = neurons((6, 20, 30))


def in_sections(numbers: np.ndarray) -> np.ndarray:
    """Return boundaries within each section, by scikit-image."""
    return np.stack([find_boundaries(section, connectivity=1, mode="thick") for section in numbers])


def test_cremi_has_boundaries_within_sections_and_neurons_where_there_are_labels(tmp_path: Path) -> None:
    write_cremi(tmp_path / "sample_A_20160501.hdf", NUMBERS)
    write_cremi(tmp_path / "sample_B_20160501.hdf", NUMBERS)
    (first, second), notes = read_volumes(tmp_path)
    assert (first.name, second.name) == ("sample_A_20160501", "sample_B_20160501")
    assert first.by_section and not first.planar and first.spacing == (40.0, 4.0, 4.0)
    np.testing.assert_array_equal(first.image, image_of(NUMBERS))
    assert (first.boundary[0, :2, :2] == FILL).all() and (first.neurons[0, :2, :2] == 0).all()
    np.testing.assert_array_equal(first.boundary[1:], in_sections(NUMBERS)[1:])
    np.testing.assert_array_equal(first.neurons[1:], NUMBERS[1:])
    assert any("boundaries, in each section" in note for note in notes)
    (alone,), _ = read_volumes(tmp_path / "sample_A_20160501.hdf")
    assert alone.name == "sample_A_20160501"


def test_snemi3d_is_one_volume(tmp_path: Path) -> None:
    write_stacks(tmp_path, "train-input.tif", "train-labels.tif", NUMBERS, NUMBERS.astype("uint16"))
    (volume,), _ = read_volumes(tmp_path)
    assert volume.by_section and not volume.planar and volume.spacing == (30.0, 6.0, 6.0)
    np.testing.assert_array_equal(volume.boundary, in_sections(NUMBERS))
    np.testing.assert_array_equal(volume.neurons, NUMBERS)


def test_isbi_has_membranes_and_the_cells_between_them_in_each_section(tmp_path: Path) -> None:
    membranes = in_sections(NUMBERS)
    labels = np.where(membranes, 0, 255).astype("uint8")
    write_stacks(tmp_path, "train-volume.tif", "train-labels.tif", NUMBERS, labels)
    (volume,), _ = read_volumes(tmp_path)
    assert volume.by_section and volume.planar
    np.testing.assert_array_equal(volume.boundary, membranes)
    assert [len(np.unique(section)) for section in volume.neurons] == [7] * 6  # six cells, and membranes
    assert ((volume.neurons == 0) == membranes).all()


def test_flyem_has_boundaries_along_all_axes(tmp_path: Path) -> None:
    volumes, _ = read_volumes(write_flyem(tmp_path))
    assert [volume.name for volume in volumes] == ["test", "train"]
    expected = find_boundaries(neurons((10, 32, 40)), connectivity=1, mode="thick")
    np.testing.assert_array_equal(volumes[0].boundary, expected)
    assert not volumes[0].by_section and len(np.unique(volumes[0].neurons)) == len(np.unique(neurons((10, 32, 40))))


def volume(name: str, size: tuple[int, int, int] = (6, 20, 300), planar: bool = False) -> Volume:
    numbers = neurons(size)
    boundary = in_sections(numbers).astype("uint8")
    return Volume(name, image_of(numbers), boundary, numbers, by_section=True, planar=planar)


def test_the_test_volume_is_named_or_called_so_or_the_last_one() -> None:
    volumes = [volume(name) for name in ("a", "test-1", "z")]
    assert [v.name for v in divide(volumes, None)[1]] == ["test-1"]
    assert [v.name for v in divide(volumes, "a")[1]] == ["a"]
    learnt, tested, said = divide([volumes[0], volumes[2]], None)
    assert ([v.name for v in learnt], [v.name for v in tested], said) == (["a"], ["z"], "test volume: z")
    with pytest.raises(UserError, match="--test: expected one of a, z, got b"):
        divide([volumes[0], volumes[2]], "b")
    with pytest.raises(UserError, match="expected a volume to learn from, got only test-1"):
        divide([volumes[1], volumes[1]], None)


def test_a_single_volume_is_divided_along_its_longest_axis_and_sections_along_z() -> None:
    (learnt,), (tested,), said = divide([volume("a")], None)
    assert learnt.image.shape == (6, 20, 239) and tested.neurons.shape == (6, 20, 45)
    assert said == "test volume: voxels 255 to 299 along x; left out: 16 voxels between it and the rest"
    (learnt,), (tested,), said = divide([volume("a", (20, 20, 30), planar=True)], None)
    assert (len(learnt.image), len(tested.image)) == (17, 3) and said == "test volume: voxels 17 to 19 along z"
    with pytest.raises(UserError, match="expected more than 32 voxels along an axis, got 18"):
        divide([volume("a", (6, 18, 18))], None)


def test_the_data_set_is_learnt_in_three_dimensions_and_sections_in_two(tmp_path: Path) -> None:
    learnt, tested, _ = divide([volume("a", (40, 40, 80)), volume("b", (40, 40, 80))], None)
    problem = open_problem(write_volumes(learnt, tested, tmp_path / "volumes.zarr"))
    assert problem.task == "segmentation" and len(problem.facts.input_shapes[0]) == 4
    assert problem.facts.classes == ("inside", "boundary")
    learnt, tested, _ = divide([volume("a", (20, 40, 40), planar=True)], None)
    problem = open_problem(write_volumes(learnt, tested, tmp_path / "sections.zarr"))
    assert problem.facts.input_shapes == ((40, 40, 1),) and problem.facts.samples[2] == 3


def test_what_is_no_volume_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--data: expected a file or folder, found no"):
        read_volumes(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"expected a folder with sample_.*\(CREMI\).*, found an empty folder"):
        read_volumes(tmp_path)
    np.savez(tmp_path / "train.npz", image=np.zeros((2, 3)))
    with pytest.raises(UserError, match=r"train\.npz: expected the arrays image and segmentation, found image"):
        read_volumes(tmp_path)
    np.savez(tmp_path / "train.npz", image=np.zeros((2, 3, 4)), segmentation=np.zeros((2, 3, 5), int))
    with pytest.raises(UserError, match=r"train\.npz: expected image and segmentation \(z, y, x\) of equal shape"):
        read_volumes(tmp_path)
    (tmp_path / "sample_A.hdf").write_text("no HDF5")
    with pytest.raises(UserError, match=r"sample_A\.hdf: cannot be read as"):
        read_volumes(tmp_path)
