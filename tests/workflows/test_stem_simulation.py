"""The simulated electron micrographs: exact labels, the intensity law, and the same images everywhere."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from pathlib import Path

import dask
import numpy as np
import pytest
import stem_simulation
import xarray as xr
from distributed import Client, LocalCluster
from stem_material import MATERIALS, Graphene, Material, TungstenDisulfide, intensity
from stem_simulation import Micrograph, Microscope, image_seed, simulate, write_images

FINE = Microscope.perfect(pixel_size=0.03)
every_material = pytest.mark.parametrize("material", MATERIALS.values(), ids=MATERIALS)


def nearest_pixels(micrograph: Micrograph) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixel that is nearest to each atom well inside the image, and the atom's class."""
    squares = ((micrograph.scan[:, :, np.newaxis] - micrograph.atoms.positions) ** 2).sum(axis=-1)
    flat = squares.reshape(-1, squares.shape[-1])
    inside = flat.min(axis=0) < (0.5 * micrograph.pixel_size) ** 2
    return flat.argmin(axis=0)[inside], micrograph.atoms.kinds[inside]


def peaks(micrograph: Micrograph, kind: int) -> np.ndarray:
    pixels, kinds = nearest_pixels(micrograph)
    return micrograph.image.ravel()[pixels[kinds == kind]]


@every_material
def test_the_same_seed_gives_the_same_image(material: Material) -> None:
    first, again, other = (simulate(material, 48, seed) for seed in (7, 7, 8))
    assert np.array_equal(first.image, again.image) and np.array_equal(first.label, again.label)
    assert not np.array_equal(first.image, other.image)


def test_another_process_makes_the_same_image() -> None:
    code = (
        "import hashlib; from stem_material import Graphene; from stem_simulation import simulate;"
        "print(hashlib.sha256(simulate(Graphene(), 40, 5).image.tobytes()).hexdigest())"
    )
    folder = Path(stem_simulation.__file__).parent
    # one thread for the linear algebra, as in a Dask worker
    command, environment = [sys.executable, "-c", code], {"OMP_NUM_THREADS": "1"}
    made = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    assert made.stdout.strip() == hashlib.sha256(simulate(Graphene(), 40, 5).image.tobytes()).hexdigest()


@every_material
@pytest.mark.parametrize("microscope", [Microscope(dirt=0.0), Microscope.perfect()], ids=["real", "perfect"])
def test_the_pixel_at_an_atom_has_its_label_however_distorted_the_scan_is(
    material: Material, microscope: Microscope
) -> None:
    for seed in range(3):
        micrograph = simulate(material, 80, seed, microscope)
        pixels, kinds = nearest_pixels(micrograph)
        assert len(kinds) > 5
        assert np.array_equal(micrograph.label.ravel()[pixels], kinds)


@every_material
def test_pixels_far_from_any_atom_are_background(material: Material) -> None:
    micrograph = simulate(material, 64, 3, Microscope(dirt=0.0))
    squares = ((micrograph.scan[:, :, np.newaxis] - micrograph.atoms.positions) ** 2).sum(axis=-1).min(axis=-1)
    assert np.array_equal(micrograph.label == 0, squares >= stem_simulation.LABEL_RADIUS**2)


def test_the_intensity_follows_the_power_law_of_the_atomic_number() -> None:
    micrograph = simulate(Graphene(dopants=0.15, vacancies=0.0), 320, 0, FINE)
    carbon, silicon = peaks(micrograph, 1), peaks(micrograph, 2)
    assert carbon == pytest.approx(1.0, abs=0.02)
    assert silicon == pytest.approx((14 / 6) ** 1.63, rel=0.02) and len(silicon) > 1
    assert intensity(42) / intensity(74) == pytest.approx((42 / 74) ** 1.63)


def test_molybdenum_and_a_vacancy_are_darker_than_what_they_stand_for() -> None:
    micrograph = simulate(TungstenDisulfide(molybdenum=0.5, single=0.5, double=0.0), 400, 1, FINE)
    tungsten, column, vacancy, molybdenum = (peaks(micrograph, kind).mean() for kind in (1, 2, 3, 4))
    assert tungsten == pytest.approx(1.0, abs=0.03)
    assert molybdenum == pytest.approx((42 / 74) ** 1.63, rel=0.03)
    assert vacancy == pytest.approx(column / 2, rel=0.05)


def test_nothing_is_left_where_an_atom_is_missing() -> None:
    micrograph = simulate(Graphene(dopants=0.0, vacancies=0.1), 320, 2, FINE)
    assert peaks(micrograph, 3).max() < 0.05


def test_defects_are_as_frequent_as_asked() -> None:
    rng = np.random.default_rng(0)
    kinds = Graphene(dopants=0.02, vacancies=0.03).atoms(100.0, rng).kinds
    shares = np.bincount(kinds, minlength=4) / len(kinds)
    assert shares == pytest.approx([0, 0.95, 0.02, 0.03], abs=4 * math.sqrt(0.03 / len(kinds)))
    kinds = TungstenDisulfide(molybdenum=0.06, single=0.04, double=0.02).atoms(100.0, rng).kinds
    shares = np.bincount(kinds, minlength=5) / len(kinds)
    assert shares == pytest.approx([0, 0.47, 0.47, 0.03, 0.03], abs=4 * math.sqrt(0.25 / len(kinds)))


def test_classes_of_pixels_have_the_share_that_the_lattice_gives_them() -> None:
    # a disc of 0.55 Å about each of the 0.382 carbon sites of a square Å
    disc = math.pi * stem_simulation.LABEL_RADIUS**2 * 2 / (2.46**2 * math.sqrt(3) / 2)
    labels = np.stack([simulate(Graphene(), 64, seed, Microscope(dirt=0.0)).label for seed in range(30)])
    shares = np.bincount(labels.ravel(), minlength=4) / labels.size
    assert shares[1:] == pytest.approx([0.96 * disc, 0.02 * disc, 0.02 * disc], rel=0.35)
    assert shares[1:].sum() == pytest.approx(disc, rel=0.05)


def test_dirt_hides_what_lies_under_it() -> None:
    clean, dirty = (simulate(Graphene(), 64, 4, Microscope(dirt=share)) for share in (0.0, 1.0))
    hidden = clean.label != dirty.label
    assert hidden.any() and (dirty.label[hidden] == 0).all()


def test_an_image_is_scaled_and_noisier_at_a_lower_dose() -> None:
    def roughness(dose: float) -> float:
        # line noise, distortion and haze are the same: what differs is the dose
        image = simulate(Graphene(), 64, 6, Microscope(dose=(dose, dose), dirt=0.0)).image
        assert image.min() == 0.0 and 0.9 < image.max() <= 1.5 and np.isfinite(image).all()
        return float(np.abs(np.diff(image, n=2, axis=1)).mean())

    assert roughness(4.0) > 1.5 * roughness(400.0)


def read(path: Path) -> xr.Dataset:
    return xr.open_zarr(path, consolidated=False, chunks=None).load()


def test_the_store_says_what_is_in_it_and_how_it_was_made(tmp_path: Path) -> None:
    path = write_images(tmp_path / "made.zarr", Graphene(), images=5, size=24, seed=3)
    data = read(path)
    assert dict(data.sizes) == {"sample": 5, "y": 24, "x": 24, "channel": 1}
    assert data["label"].attrs["classes"] == ["background", "carbon", "silicon dopant", "vacancy"]
    assert data.attrs["seed"] == 3 and data.attrs["material"]["dopants"] == 0.02
    assert int(data["seed"][2]) == image_seed(3, 2)
    alone = simulate(Graphene(), 24, int(data["seed"][2]))
    assert np.array_equal(alone.image, data["image"][2, :, :, 0]) and np.array_equal(alone.label, data["label"][2])
    assert float(data["pixel_size"][2]) == pytest.approx(alone.pixel_size)
    assert float(data["dose"][2]) == pytest.approx(alone.dose)


def test_a_store_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    path = write_images(tmp_path / "made.zarr", Graphene(), images=2, size=16, seed=0)
    before = path.stat().st_mtime_ns
    assert write_images(path, Graphene(), images=2, size=16, seed=0) == path
    assert path.stat().st_mtime_ns == before
    assert [child.name for child in tmp_path.iterdir()] == ["made.zarr"]


def test_chunks_and_images_do_not_depend_on_the_workers(tmp_path: Path) -> None:
    settings = {"images": 70, "size": 16, "seed": 1}
    with dask.config.set(scheduler="synchronous"):
        alone = write_images(tmp_path / "alone.zarr", TungstenDisulfide(), **settings)
    with (
        LocalCluster(n_workers=3, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster),
    ):
        together = write_images(tmp_path / "together.zarr", TungstenDisulfide(), **settings)
    assert read(alone).identical(read(together))
    for path in (alone, together):
        chunks = xr.open_zarr(path, consolidated=False)["image"].chunksizes
        assert chunks["sample"] == (32, 32, 6)
