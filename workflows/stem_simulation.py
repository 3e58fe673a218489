"""Simulated, labelled images of a scanning transmission electron microscope (STEM). Runs on a worker.

Each pixel of a simulated image has its exact label, because the atoms are known. The imaging is incoherent and
linear: an atom of atomic number Z adds a spot of intensity Z ** 1.63. Exponent and width of the spot were measured
on multislice calculations of single atoms and of whole monolayers; docs/stem.md has the numbers, and where the
model ends.

Lengths are in Å; positions are ``(x, y)``; x is the fast axis of the scan.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, Self

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr
from stem_material import EXPONENT, Atoms, Floats, Material, intensity

Range = tuple[float, float]

LABEL_RADIUS = 0.55  # pixels nearer to an atom than this have its label
_CORE_SIGMA = 0.82 / 2.355  # of the diffraction-limited spot; 0.82 Å is its full width at half maximum
_TILE = 16  # side of the tiles that are computed at once, pixels: limits the memory
_CHUNK = 32  # images in a chunk of the store, whatever the number of workers


@dataclass(frozen=True, slots=True)
class Microscope:
    """Imaging conditions: ranges from which the conditions of each image are drawn.

    Parameters
    ----------
    pixel_size
        Distance of two pixels.
    dose
        Electrons counted at the peak of a host atom, drawn on a logarithmic scale; infinite for no noise.
    source_size
        Standard deviation of the image of the electron source, which widens the spots.
    astigmatism
        Relative difference of the squared widths of a spot along its two axes.
    tail, tail_width
        Height and standard deviation of a broad halo around each spot.
    drift, jitter
        Standard deviation of the slow drift, in pixels per pixel, and of the displacement of scan lines.
    strain, displacement
        Standard deviation of the lattice's strain and of each atom's displacement.
    haze
        Mean intensity of the thin contamination under the specimen.
    dirt
        Share of images with a thick amorphous patch; pixels under it are labelled background.
    read_noise, line_noise
        Noise of the detector, in counts, and of scan lines, relative to the square root of the dose.
    """

    pixel_size: Range = (0.10, 0.18)
    dose: Range = (8.0, 100.0)
    source_size: Range = (0.15, 0.45)
    astigmatism: Range = (0.0, 0.15)
    tail: Range = (0.02, 0.10)
    tail_width: Range = (1.4, 2.5)
    drift: float = 0.02
    jitter: Range = (0.0, 0.10)
    strain: float = 0.012
    displacement: float = 0.045
    haze: Range = (0.05, 0.25)
    dirt: float = 0.15
    read_noise: float = 0.6
    line_noise: float = 0.04

    @classmethod
    def perfect(cls, pixel_size: float = 0.10) -> Self:
        """Return a microscope without noise, distortion and aberration, for a specimen at rest."""
        none = (0.0, 0.0)
        return cls(
            (pixel_size, pixel_size), (math.inf, math.inf), source_size=none, astigmatism=none, tail=none,
            drift=0.0, jitter=none, strain=0.0, displacement=0.0, haze=none, dirt=0.0, read_noise=0.0, line_noise=0.0,
        )


class Micrograph(NamedTuple):
    """A simulated image ``(y, x)``, its labels, true positions of atoms and pixels, and imaging conditions."""

    image: npt.NDArray[np.float32]
    label: npt.NDArray[np.uint8]
    atoms: Atoms
    scan: Floats
    pixel_size: float
    dose: float


class _Probe(NamedTuple):
    """Shape of the spot of an atom: an elliptical core and a halo."""

    variance: float
    astigmatism: float
    angle: float
    tail: float
    tail_width: float

    @property
    def core_reach(self) -> float:
        return max(LABEL_RADIUS, 3.5 * math.sqrt(self.variance * (1 + self.astigmatism)))

    @property
    def reach(self) -> float:
        return max(self.core_reach, 3.0 * self.tail_width if self.tail else 0.0)

    def core(self, offsets: Floats) -> Floats:
        """Return the core's relative intensity at offsets ``(…, 2)`` from an atom."""
        along = offsets @ np.array([math.cos(self.angle), math.sin(self.angle)])
        along *= along
        across = _square(offsets) - along
        widths: Floats = along / (1 + self.astigmatism) + across / (1 - self.astigmatism)
        return np.exp(-0.5 / self.variance * widths)  # type: ignore[no-any-return]

    def halo(self, offsets: Floats) -> Floats:
        """Return the halo's relative intensity at offsets ``(…, 2)`` from an atom."""
        return self.tail * np.exp(-0.5 / self.tail_width**2 * _square(offsets))  # type: ignore[no-any-return]


def simulate(material: Material, size: int, seed: int, microscope: Microscope = Microscope()) -> Micrograph:
    """Simulate an image of ``size × size`` pixels; equal seeds give equal images in all processes.

    The image is scaled to about 0 to 1; without noise (infinite dose) it is in units of the host atom's peak.
    """
    rng = np.random.default_rng(seed)
    pixel_size = rng.uniform(*microscope.pixel_size)
    low, high = microscope.dose
    dose = low if low == high else float(np.exp(rng.uniform(math.log(low), math.log(high))))
    probe = _probe(microscope, rng)
    scan = _scan(size, pixel_size, microscope, rng)
    radius = float(np.hypot(scan[..., 0], scan[..., 1]).max()) + probe.reach
    atoms = _place_flake(material, radius, microscope, rng)
    image, label = _render(atoms, probe, scan)
    image /= intensity(material.host)
    if math.isinf(dose):
        return Micrograph(image.astype(np.float32), label, atoms, scan, pixel_size, dose)
    image += _haze(size, pixel_size, microscope, rng)
    if rng.random() < microscope.dirt:
        patch, covered = _dirt(size, pixel_size, rng)
        image += patch
        label[covered] = 0
    return Micrograph(scaled(_detect(image, dose, microscope, rng)), label, atoms, scan, pixel_size, dose)


def scaled(counts: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Scale an image: its darkest pixel becomes 0, and its percentile 99.8 becomes 1; 1.5 is the most."""
    darkest, brightest = counts.min(), np.percentile(counts, 99.8)
    return np.clip((counts - darkest) / max(brightest - darkest, 1e-9), 0.0, 1.5).astype(np.float32)


def image_seed(seed: int, index: int) -> int:
    """Return the seed of one image of a data set."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> 1)


def write_images(
    path: Path, material: Material, *, images: int, size: int, seed: int, microscope: Microscope = Microscope()
) -> Path:
    """Simulate a labelled data set and write it to a Zarr store, unless it exists; one task per chunk of images.

    Tasks run on the active Dask client, else in threads of this process. The result depends only on the arguments.
    """
    if path.exists():
        return path
    partial = path.with_name(path.name + ".partial")
    _template(material, images, size, seed, microscope).to_zarr(
        partial, mode="w", compute=False, consolidated=False, zarr_format=3
    )
    write = dask.delayed(_write_chunk, pure=False)
    dask.compute(
        *[
            write(partial, material, range(start, min(start + _CHUNK, images)), size, seed, microscope)
            for start in range(0, images, _CHUNK)
        ]
    )
    partial.rename(path)
    return path


def _template(material: Material, images: int, size: int, seed: int, microscope: Microscope) -> xr.Dataset:
    pixels, chunk = (images, size, size), min(_CHUNK, images)

    def empty(shape: tuple[int, ...], dtype: str) -> Any:
        return da.zeros(shape, dtype=dtype, chunks=(chunk, *shape[1:]))

    conditions = {
        name: ("sample", empty((images,), dtype), attributes)
        for name, dtype, attributes in (
            ("pixel_size", "float32", {"units": "Å", "long_name": "distance of two pixels"}),
            ("dose", "float32", {"units": "electrons", "long_name": "counts at the peak of a host atom"}),
            ("seed", "int64", {"long_name": "seed of the image"}),
        )
    }
    middle = sum(microscope.pixel_size) / 2  # of the range
    signal = {"long_name": "detector signal", "spacing": [middle, middle], "spacing_unit": "Å"}
    return xr.Dataset(
        {
            "image": (("sample", "y", "x", "channel"), empty((*pixels, 1), "float32"), signal),
            "label": (("sample", "y", "x"), empty(pixels, "uint8"), {"classes": list(material.classes)}),
        },
        coords=conditions,
        attrs={
            "title": f"Simulated annular dark-field STEM images of {material.name} with defects",
            "source": f"linear incoherent imaging, intensity Z ** {EXPONENT}, 60 kV, 31 mrad, detector 86 to 190 mrad",
            "material": {"name": material.name, **asdict(material)},  # type: ignore[call-overload]
            "microscope": asdict(microscope),
            "seed": seed,
        },
    )


def _write_chunk(
    store: Path, material: Material, indices: range, size: int, seed: int, microscope: Microscope
) -> None:
    seeds = [image_seed(seed, index) for index in indices]
    made = [simulate(material, size, one, microscope) for one in seeds]
    chunk = xr.Dataset(
        {
            "image": (("sample", "y", "x", "channel"), np.stack([m.image for m in made])[..., np.newaxis]),
            "label": (("sample", "y", "x"), np.stack([m.label for m in made])),
        },
        coords={
            "pixel_size": ("sample", np.array([m.pixel_size for m in made], "float32")),
            "dose": ("sample", np.array([m.dose for m in made], "float32")),
            "seed": ("sample", np.array(seeds, "int64")),
        },
    )
    chunk.to_zarr(store, region={"sample": slice(indices.start, indices.stop)}, consolidated=False)


def _place_flake(material: Material, radius: float, microscope: Microscope, rng: np.random.Generator) -> Atoms:
    """Return a flake with random strain, rotation, shift and displacements of its atoms."""
    margin = 4.0 + radius * 4 * microscope.strain
    atoms = material.atoms(radius + margin, rng)
    angle = rng.uniform(0.0, 2 * math.pi)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    stretch = np.eye(2) + rng.normal(0.0, microscope.strain, (2, 2))
    positions = atoms.positions @ (stretch @ turn).T + rng.uniform(-2.0, 2.0, 2)
    return atoms._replace(positions=positions + rng.normal(0.0, microscope.displacement, positions.shape))


def _probe(microscope: Microscope, rng: np.random.Generator) -> _Probe:
    variance = _CORE_SIGMA**2 + rng.uniform(*microscope.source_size) ** 2
    astigmatism, angle = rng.uniform(*microscope.astigmatism), rng.uniform(0.0, math.pi)
    return _Probe(variance, astigmatism, angle, rng.uniform(*microscope.tail), rng.uniform(*microscope.tail_width))


def _scan(size: int, pixel_size: float, microscope: Microscope, rng: np.random.Generator) -> Floats:
    """Return the true beam positions ``(y, x, 2)``: drift shears the scan, jitter displaces its lines."""
    axis = (np.arange(size) - (size - 1) / 2) * pixel_size
    shear, stretch = rng.normal(0.0, microscope.drift, 2)
    kicks = rng.normal(0.0, rng.uniform(*microscope.jitter), size)
    lines = np.fromiter(accumulate(kicks, lambda before, kick: 0.7 * before + kick), float, size)
    x = axis + (shear * axis + lines)[:, np.newaxis]
    y = np.broadcast_to((1 + stretch) * axis[:, np.newaxis], x.shape)
    return np.stack([x, y], axis=-1)


def _render(atoms: Atoms, probe: _Probe, scan: Floats) -> tuple[Floats, npt.NDArray[np.uint8]]:
    """Return the noiseless image in units of Z = 1, and each pixel's label: the nearest atom's class."""
    image = np.zeros(scan.shape[:2])
    label = np.zeros(scan.shape[:2], np.uint8)
    for tile in _tiles(scan.shape[0]):
        pixels, shape = scan[tile].reshape(-1, 2), image[tile].shape
        near = _near(atoms, pixels, probe.core_reach)
        if len(near.kinds):
            offsets = pixels[:, np.newaxis] - near.positions
            image[tile] = (probe.core(offsets) @ near.intensities).reshape(shape)
            squares = _square(offsets)
            owners = near.kinds[squares.argmin(axis=1)]
            label[tile] = np.where(squares.min(axis=1) < LABEL_RADIUS**2, owners, 0).reshape(shape)
        if probe.tail:
            near = _near(atoms, pixels, probe.reach)
            image[tile] += (probe.halo(pixels[:, np.newaxis] - near.positions) @ near.intensities).reshape(shape)
    return image, label


def _near(atoms: Atoms, pixels: Floats, reach: float) -> Atoms:
    low, high = pixels.min(axis=0) - reach, pixels.max(axis=0) + reach
    near = ((atoms.positions >= low) & (atoms.positions <= high)).all(axis=1)
    return Atoms(atoms.positions[near], atoms.intensities[near], atoms.kinds[near])


def _square(offsets: Floats) -> Floats:
    return offsets[..., 0] * offsets[..., 0] + offsets[..., 1] * offsets[..., 1]


def _tiles(size: int) -> Iterator[tuple[slice, slice]]:
    starts = range(0, size, _TILE)
    return ((slice(row, row + _TILE), slice(column, column + _TILE)) for row in starts for column in starts)


def _smooth(size: int, scale: float, rng: np.random.Generator) -> Floats:
    """Return a random field with mean 0 and variance 1 that varies over `scale` pixels."""
    noise = np.fft.rfft2(rng.normal(size=(size, size)))
    square = np.fft.fftfreq(size)[:, np.newaxis] ** 2 + np.fft.rfftfreq(size) ** 2
    field = np.fft.irfft2(noise * np.exp(-2 * (math.pi * scale) ** 2 * square), s=(size, size))
    field -= field.mean()
    return field / max(float(field.std()), 1e-9)


def _haze(size: int, pixel_size: float, microscope: Microscope, rng: np.random.Generator) -> Floats:
    mean, scale = rng.uniform(*microscope.haze), rng.uniform(2.0, 6.0)
    return mean * np.exp(0.5 * _smooth(size, scale / pixel_size, rng))


def _dirt(size: int, pixel_size: float, rng: np.random.Generator) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the intensity of an amorphous patch, a few host atoms thick, and which pixels it covers."""
    thickness = np.clip(_smooth(size, 2.5 / pixel_size, rng) - 1.3, 0.0, None)
    grain = np.clip(1 + 0.3 * _smooth(size, 0.4 / pixel_size, rng), 0.0, None)
    return 4.0 * thickness * grain, thickness > 0


def _detect(image: Floats, dose: float, microscope: Microscope, rng: np.random.Generator) -> Floats:
    """Return electron counts: shot noise, noise of the detector, and an offset of each scan line."""
    size = image.shape[0]
    expected = np.round(image * dose, 6)  # the last bit of a sum differs between machines; it must not change a draw
    counts = rng.poisson(expected) + rng.normal(0.0, microscope.read_noise, image.shape)
    return counts + rng.normal(0.0, microscope.line_noise * math.sqrt(dose), (size, 1))
