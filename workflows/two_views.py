"""Evolve a network that finds the vertex of an event from two images of a detector, x-z and y-z.

    python workflows/two_views.py
    python workflows/two_views.py --views xz --run runs/two_views-xz

The events are simulated: tracks and showers from one vertex, a muon that crosses the detector, and noise. The network
says in which segment of the detector the vertex lies. The two images have unequal size. See docs/two_views.md.
"""

from __future__ import annotations

import argparse
import sys

from detector_simulation import Detector, write_events

from menndl_dask import SearchSpace, UserError, open_problem, workflow


def parser() -> argparse.ArgumentParser:
    """Return the options of the command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--events", type=int, default=3000, metavar="N", help="events to simulate (default: 3000)")
    found.add_argument("--segments", type=int, default=6, metavar="N", help="parts of the detector (default: 6)")
    text = "images that networks see, to compare one with both (default: xz yz)"
    found.add_argument("--views", nargs="+", choices=("xz", "yz"), default=["xz", "yz"], metavar="VIEW", help=text)
    workflow.add_options(found, run="runs/two_views", evaluations=24, epochs=6, retrain=2.0, learning_rate=2e-3)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the workflow with the options of the command line."""
    given = parser().parse_args(arguments)
    detector = _detector(given)
    options = workflow.Options.read(given)
    options.run.mkdir(parents=True, exist_ok=True)
    path = options.run / f"events-{given.events}-{given.segments}-seed{options.seed}.zarr"
    problem = open_problem(
        write_events(path, detector, given.events, options.seed), task="classification", metric="accuracy",
        inputs=given.views, budget=options.budget, augmentation=options.augmentation, seed=options.seed,
    )  # fmt: skip
    space = SearchSpace.image(problem, max_parameters=500_000, max_flops=40e6)
    return workflow.main_job(problem, space, options)


def _detector(given: argparse.Namespace) -> Detector:
    planes = Detector().planes
    if not 2 <= given.segments <= planes or planes % given.segments:
        raise UserError(f"--segments: expected a divisor of {planes} planes, at least 2, got {given.segments}")
    if given.events < 20 * given.segments:
        raise UserError(f"--events: expected at least {20 * given.segments}, 20 a segment, got {given.events}")
    if len(set(given.views)) < len(given.views):
        raise UserError(f"--views: expected each view once, got {' '.join(given.views)}")
    return Detector(segments=given.segments)


if __name__ == "__main__":
    sys.exit(workflow.guarded(main))
