"""Random networks on the device at hand: what share of its measured peak their training and predictions reach.

    python -m benchmarks.device_share                                   # on a GPU: 20 networks, float32 and bfloat16
    python -m benchmarks.device_share --networks 3 --pixels 24 --batches 8 --precisions float32      # on a CPU

Networks are drawn in turn from the default spaces of two tasks: classes of images, and pixels of images. Each is
measured alone in a child process, as `menndl profile` does it. The peak is the larger of a matrix product and a
convolution of the same precision, measured just before each network. Of each network the batch with the highest rate
counts.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Sequence
from importlib.metadata import version

import numpy as np

from menndl_dask.performance.profile import Profile, profile
from menndl_dask.problem import PRECISIONS, Budget, Facts, Problem
from menndl_dask.space.space import SearchSpace
from menndl_dask.text import quantity

_CLASSES, _CHANNELS = 10, 3
_HEAD = ("network", "precision", "parameters", "FLOPs", "batch", "train FLOP/s", "of peak", "predict FLOP/s", "of peak")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a row for each network and precision, and the quartiles of the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=["float32", "bfloat16"])
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 128, 512])
    parser.add_argument("--pixels", type=int, default=96, help="of a side of an image")
    parser.add_argument("--seconds", type=float, default=0.5, help="about as long is each measurement repeated")
    options = parser.parse_args(arguments)
    spaces = [_space("classification", options.pixels), _space("segmentation", options.pixels)]
    print(f"| {' | '.join(_HEAD)} |\n| --- | --- |{' ---: |' * (len(_HEAD) - 2)}")
    shares: dict[str, list[tuple[float, float]]] = {name: [] for name in options.precisions}
    last = None
    for number in range(options.networks):
        space = spaces[number % len(spaces)]
        assert space.rules is not None
        genome = space.sample(np.random.default_rng([21, number]))
        for precision in options.precisions:
            last = profile(genome, space.rules.problem, options.batches, precision, options.seconds)
            print(_row(f"{number} ({space.rules.problem.task})", last), flush=True)
            if (found := _best(last)) is not None:
                shares[precision].append(found[1:])
    for precision, found in shares.items():
        if found:
            training, predicting = (np.quantile(each, [0.25, 0.5, 0.75]) for each in zip(*found, strict=True))
            words = f"{_words(training)} in training, {_words(predicting)} in predictions"
            print(f"\n{precision}: of the measured peak, quartiles of {len(found)} networks: {words}")
    device = "no network" if last is None else last.device
    print(f"\n{device}, Python {platform.python_version()}, Keras {version('keras')}, {time.strftime('%d %B %Y')}")
    return 0


def _space(task: str, pixels: int) -> SearchSpace:
    facts = Facts(
        input_shapes=((pixels, pixels, _CHANNELS),),
        outputs=_CLASSES,
        classes=tuple(f"class {i}" for i in range(_CLASSES)),
        class_counts=(100,) * _CLASSES,
        samples=(1000, 100, 100),
        mean=((0.0,) * _CHANNELS,),
        variance=((1.0,) * _CHANNELS,),
    )
    return SearchSpace.image(Problem("nowhere.zarr", task, facts, budget=Budget(epochs=1)), max_memory_bytes=64e9)


def _best(found: Profile) -> tuple[int, float, float] | None:
    """Return the batch that trains at the highest rate, and the shares of the peak of training and predictions."""
    measured = [each for each in found.batches if each.training_s]
    if not measured:
        return None
    best = max(measured, key=lambda each: found.training_rate(each) or 0.0)
    rates = (found.training_rate(best) or 0.0, found.inference_rate(best) or 0.0)
    return best.batch, rates[0] / found.peak, rates[1] / found.peak


def _row(name: str, found: Profile) -> str:
    best, cost = _best(found), found.cost
    figures = [quantity(cost.parameters), quantity(cost.flops_forward)]
    if best is None:
        figures += ["–"] * 4 + [found.batches[0].failure]
    else:
        batch, training, predicting = best
        busy = " (busy)" if found.was_busy else ""
        figures += [str(batch), quantity(training * found.peak), f"{training:.1%}"]
        figures += [quantity(predicting * found.peak), f"{predicting:.1%}{busy}"]
    return f"| {name} | {found.precision} | {' | '.join(figures)} |"


def _words(quartiles: Sequence[float]) -> str:
    return " / ".join(f"{value:.1%}" for value in quartiles)


if __name__ == "__main__":
    raise SystemExit(main())
