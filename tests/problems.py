"""Small problems without data, for tests of what is pure."""

from __future__ import annotations

from typing import Any

from menndl_dask.problem import Budget, Facts, Problem


def problem(
    task: str = "classification",
    shapes: tuple[tuple[int, ...], ...] = ((16, 16, 1),),
    outputs: int = 3,
    **settings: Any,
) -> Problem:
    """Return a problem with made-up facts; nothing behind it can be opened."""
    facts = Facts(
        input_shapes=shapes,
        outputs=outputs,
        classes=tuple(f"class {i}" for i in range(outputs)) if task != "regression" else (),
        class_counts=(100,) * outputs if task != "regression" else (),
        samples=(100, 20, 20),
        mean=tuple((0.0,) * s[-1] for s in shapes),
        variance=tuple((1.0,) * s[-1] for s in shapes),
        label_mean=(0.0,) * outputs if task == "regression" else (),
        label_variance=(1.0,) * outputs if task == "regression" else (),
        constant_fitness=1 / outputs if task == "classification" else 0.0,
    )
    names = ("image",) if len(shapes) == 1 else tuple(f"view_{v}" for v in range(len(shapes)))
    settings.setdefault("budget", Budget(epochs=1))
    return Problem("nowhere.zarr", task, facts, inputs=names, **settings)


PROBLEMS = {
    "classes of 2-D images": problem(),
    "numbers of 2-D images": problem("regression", outputs=2),
    "pixels of 2-D images": problem("segmentation", ((32, 32, 2),)),
    "pixels of odd 2-D images": problem("segmentation", ((21, 13, 1),)),
    "classes of 1-D images": problem(shapes=((64, 3),)),
    "classes of 3-D images": problem(shapes=((8, 12, 10, 1),)),
    "pixels of 3-D images": problem("segmentation", ((8, 16, 16, 1),)),
    "two views": problem(shapes=((16, 16, 1), (12, 20, 2))),
    "two views of pixels": problem("segmentation", ((16, 16, 1), (16, 16, 2))),
    "tiny images": problem(shapes=((4, 4, 1),)),
}
