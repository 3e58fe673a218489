"""Staging: write the samples of each split to a node's local disk, once for all trainings. Runs on a worker.

A search trains hundreds of networks on the same samples. Reading compressed chunks from a shared file system each time
costs more than training a small network. One flat file for each view and split, memory-mapped, is shared by all
trainers of a node through the page cache.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np

from menndl_dask import files
from menndl_dask.data.dataset import Dataset, fill_missing
from menndl_dask.data.image_staging import write_images
from menndl_dask.data.labels import label_type, problem_dataset, split_positions
from menndl_dask.data.splits import Positions, within
from menndl_dask.data.staged_samples import staged_files
from menndl_dask.data.store.variable import Block, blocks
from menndl_dask.errors import DataError, NodeError
from menndl_dask.problem import SPLITS, Problem

logger = logging.getLogger(__name__)

_LAYOUT = 2  # version of the file layout


def stage(problem: Problem, directory: str | Path) -> Path:
    """Write the samples of each split as ``.npy`` files, unless they exist, and return their directory.

    Those of the training split are the samples of all splits in `Problem.train_on`.

    Images become float32, with NaN replaced by the mean of the channel in the training split; labels become small
    integers, or float32 values. One block of samples is in memory at a time. If several processes stage the same
    samples, one writes and the others wait; the directory is renamed to its final name when it is complete.

    With patches the images keep their sizes and types, and missing values stay NaN; if they take more than a share of
    the free disk, only where to read them is written, for `open_images`.

    `directory` is on a local disk. The samples get a subdirectory named after the data and the split, which is returned
    for `open_staged`, or with patches for `open_images`.

    Raises
    ------
    DataError
        If the data has changed since the problem was opened.
    NodeError
        If the disk is full or cannot be written to.
    """
    parent = Path(directory)
    target = parent / _key(problem)
    if target.is_dir():
        return target
    try:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(parent / f".{target.name}.lock") as locked:
            if not target.is_dir():
                if locked:
                    files.sweep(parent, target.name)
                _write_whole(problem, target)
    except OSError as error:
        raise NodeError(f"{target}: samples cannot be staged: {error.strerror or error}") from error
    return target


def _key(problem: Problem) -> str:
    """Return a name that is equal for equal samples in equal order."""
    facts = problem.facts
    what = [_LAYOUT, facts.fingerprint, problem.task, problem.inputs, problem.label, problem.ignore, problem.group]
    patches = None if problem.patches is None else [problem.patches.size, problem.patches.gap]
    shown = [patches, problem.large_images, facts.input_shapes, problem.train_on]
    digest = hashlib.sha256(json.dumps([*what, problem.seed, facts.samples, facts.mean, *shown]).encode())
    return f"{facts.fingerprint}-{digest.hexdigest()[:12]}"


@contextmanager
def _locked(lock: Path) -> Iterator[bool]:
    """Hold a lock among the processes and threads of this node; yields False if locks are not supported."""
    # for this user alone; a link is not followed, and a fifo does not make this wait
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(lock, flags, 0o600), "rb", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            held = True
        except OSError:  # no locks on this file system: each process writes a copy, and the first is kept
            logger.info("%s: no locks on this file system", lock.parent)
            held = False
        yield held


def _write_whole(problem: Problem, target: Path) -> None:
    dataset = problem_dataset(problem)
    found = dataset.fingerprint()
    if found != problem.facts.fingerprint:
        expected = problem.facts.fingerprint
        raise DataError(f"{problem.data}: the data has changed: expected fingerprint {expected}, got {found}")
    parts = split_positions(problem, dataset)
    parts |= {"train": np.sort(np.concatenate([parts[split] for split in problem.train_on]))}
    try:
        with files.replacing(target) as partial:
            partial.mkdir(mode=0o700)
            write = _write if problem.patches is None else write_images
            write(problem, dataset, parts, partial)
            for file in partial.iterdir():
                with suppress(PermissionError):  # some file systems have no modes
                    file.chmod(0o600)
    except OSError:
        if not target.is_dir():  # else another process wrote the same samples first
            raise
    logger.info("%s: staged %s samples", target, sum(map(len, parts.values())))


def _write(problem: Problem, dataset: Dataset, parts: Mapping[str, Positions], directory: Path) -> None:
    means = problem.facts.mean
    kind = label_type(problem)
    of_samples = problem.task == "regression" and not problem.by_pixel
    shape = (problem.facts.outputs,) if of_samples else dataset.label.shape
    shapes, kinds = [*problem.facts.input_shapes, shape], [*("<f4" for _ in dataset.views), kind]
    with ExitStack() as files:
        outputs = {}
        for split in SPLITS:
            paths = staged_files(directory, split, len(dataset.views))
            outputs[split] = [
                files.enter_context(_array_file(path, (len(parts[split]), *each), stored))
                for path, each, stored in zip(paths, shapes, kinds, strict=True)
            ]
        # whole samples: they are of moderate size, else they would be learnt from patches or resized
        for start, stop, _ in blocks(*dataset.variables, whole=True):
            block = Block(start, stop)
            arrays = [fill_missing(v.images(block), m) for v, m in zip(dataset.views, means, strict=True)]
            arrays.append(dataset.label.read(block).reshape(stop - start, *shape).astype(kind))
            for split, opened in outputs.items():
                inside = within(parts[split], start, stop)
                for file, values in zip(opened, arrays, strict=True):
                    file.write(np.ascontiguousarray(values[inside]).tobytes())


@contextmanager
def _array_file(path: Path, shape: tuple[int, ...], kind: str) -> Iterator[IO[bytes]]:
    """Open a ``.npy`` file to write values in order.

    A full disk raises an OSError here; with a memory-mapped file it would kill the worker by a signal.
    """
    with path.open("wb") as file:
        header = {"shape": shape, "fortran_order": False, "descr": kind}
        np.lib.format.write_array_header_2_0(file, header)
        yield file
        file.flush()
        os.fsync(file.fileno())
