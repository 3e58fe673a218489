"""Simulated events in a tracking detector that is read out as two images, x-z and y-z. Runs on the driver.

The detector is a stack of planes across the beam. Even planes have strips that measure x, odd planes strips that
measure y, so that no image alone has every plane. An event has one vertex, from which tracks and sometimes a shower go
out. Muons of other interactions cross the whole detector. Lengths along the beam are in planes, lengths across it
in strips; energies are in units of what a particle leaves in one plane.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

Floats = npt.NDArray[np.float64]
_EDGE = 0.15  # share of the detector's width, at each side, in which no vertex lies
_DEAD = 9  # planes of an image that are not read out together


@dataclass(frozen=True, slots=True)
class Detector:
    """A detector and its conditions.

    Parameters
    ----------
    strips_x, strips_y
        Strips of a plane that measures x, and of one that measures y.
    planes
        Planes along the beam, of both kinds.
    segments
        Equal parts of the detector along the beam; the part with the vertex is what networks find.
    tracks
        Lowest and highest number of tracks from the vertex.
    track_length
        Mean length of a track.
    slope
        Mean slope of a track to the beam, strips per plane.
    shower
        Share of the events with a shower of a photon, which begins behind the vertex.
    muons
        Mean number of muons of other interactions that cross the detector.
    dead
        Share of the images in which some neighbouring planes are not read out, since they still are busy.
    efficiency
        Share of the strips hit that are read out.
    noise
        Share of the strips with a false signal.
    """

    strips_x: int = 32
    strips_y: int = 24
    planes: int = 48
    segments: int = 6
    tracks: tuple[int, int] = (2, 4)
    track_length: float = 10.0
    slope: float = 0.5
    shower: float = 0.4
    muons: float = 0.7
    dead: float = 0.8
    efficiency: float = 0.95
    noise: float = 0.01


def simulate(detector: Detector, rng: np.random.Generator) -> tuple[Floats, Floats, int]:
    """Return the images x-z ``(x, z)`` and y-z ``(y, z)`` of an event, and the segment with its vertex."""
    width = np.array([detector.strips_x, detector.strips_y])
    energy = [np.zeros((side, detector.planes)) for side in width]
    place = rng.uniform(_EDGE, 1 - _EDGE, 2) * width
    depth = rng.uniform(0, detector.planes)
    for _ in range(rng.integers(*detector.tracks, endpoint=True)):
        forward = rng.random() < 0.9
        slope = _slope(detector, rng) * (1 if forward else 2)
        length = 3 + rng.exponential(detector.track_length) * (1 if forward else 0.4)
        _add(energy, place, depth, slope, length if forward else -length, rng)
    if rng.random() < detector.shower:
        _add_shower(energy, place, depth, _slope(detector, rng), rng)
    for _ in range(rng.poisson(detector.muons)):
        _add(energy, rng.uniform(0, 1, 2) * width, 0.0, 0.3 * _slope(detector, rng), float(detector.planes), rng)
    images = [_read_out(energy[view][:, view::2], detector, rng) for view in (0, 1)]
    return images[0], images[1], int(depth * detector.segments / detector.planes)


def _slope(detector: Detector, rng: np.random.Generator) -> Floats:
    """Return the slopes in x and y of a direction that is drawn around the beam."""
    angle = rng.uniform(0, 2 * np.pi)
    return rng.exponential(detector.slope) * np.array([np.cos(angle), np.sin(angle)])


def _add(
    energy: list[Floats], place: Floats, depth: float, slope: Floats, length: float, rng: np.random.Generator,
    width: float = 0.0, number: int = 1,
) -> None:  # fmt: skip
    """Add a straight path, or the particles of a shower about it, to the energy of each strip of all planes."""
    ends = sorted((depth, depth + length))
    planes = np.arange(energy[0].shape[1])
    planes = np.repeat(planes[(planes >= ends[0]) & (planes <= ends[1])], number)
    for view, image in enumerate(energy):
        strips = place[view] + slope[view] * (planes - depth) + rng.normal(0, width, len(planes))
        left = rng.gamma(6.0, 1 / 6, len(planes)) * np.hypot(1, np.hypot(*slope))  # the longer the path, the more
        first = np.floor(strips).astype(int)
        for strip, share in ((first, 1 - strips + first), (first + 1, strips - first)):
            inside = (strip >= 0) & (strip < len(image))
            np.add.at(image, (strip[inside], planes[inside]), (left * share)[inside])


def _add_shower(energy: list[Floats], place: Floats, depth: float, slope: Floats, rng: np.random.Generator) -> None:
    """Add a photon's shower: it begins some planes behind the vertex, and becomes wide."""
    start = depth + rng.exponential(5.0)
    centre = place + slope * (start - depth)
    for step in range(int(rng.uniform(6, 14))):
        width, number = 0.3 + 0.12 * step, 1 + int(3 * np.exp(-(((step - 4) / 4) ** 2)))
        _add(energy, centre + slope * step, start + step, slope, 0.999, rng, width, number)


def _read_out(energy: Floats, detector: Detector, rng: np.random.Generator) -> Floats:
    """Return the signals of the strips: some are not read out, others are false; weak ones are cut off."""
    signal = energy * (rng.random(energy.shape) < detector.efficiency)
    if rng.random() < detector.dead:
        first = rng.integers(1 - _DEAD, signal.shape[1])
        signal[:, max(0, first) : first + _DEAD] = 0.0
    signal += rng.exponential(0.6, energy.shape) * (rng.random(energy.shape) < detector.noise)
    return np.where(signal > 0.15, signal, 0.0)


def write_events(path: Path, detector: Detector, events: int, seed: int) -> Path:
    """Simulate events as a labelled data set with two views in Zarr, unless it exists; the seed decides everything."""
    if path.exists():
        return path
    rng = np.random.default_rng(seed)
    made = [simulate(detector, rng) for _ in range(events)]
    step = detector.planes // detector.segments
    classes = [f"planes {first}-{first + step - 1}" for first in range(0, detector.planes, step)]
    images = [np.stack([event[view] for event in made])[..., np.newaxis].astype("float32") for view in (0, 1)]
    views = {name: (("sample", *name, "channel"), images[view]) for view, name in enumerate(("xz", "yz"))}
    label = ("sample", np.array([event[2] for event in made], "uint8"), {"classes": classes})
    partial = path.with_name(path.name + ".partial")
    dataset = xr.Dataset({**views, "label": label}, attrs={"title": "Simulated events in two views", "seed": seed})
    dataset.chunk(sample=256).to_zarr(partial, mode="w", zarr_format=3, consolidated=False)
    partial.rename(path)
    return path
