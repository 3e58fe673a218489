"""Initial networks: what a search evaluates before random networks and offspring. Runs on the driver."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from menndl_dask import own_code
from menndl_dask.errors import RunError, TrainerError, UserError, nearest, reading
from menndl_dask.evaluation.child_process import ChildProcess
from menndl_dask.genome.gene import kind_name, kinds_of_users
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import ranked
from menndl_dask.genome.keras_model.network_file import code_at_hand
from menndl_dask.problem import Problem
from menndl_dask.run.run import Run
from menndl_dask.run.settings import FILE, read_settings
from menndl_dask.search.options import FEW, NONE, STANDARD, SUITABLE
from menndl_dask.search.suitable_networks import suitable_networks
from menndl_dask.space.space import SearchSpace
from menndl_dask.space.standard.standard import STANDARD_NETWORKS, named_network, standard_network, standard_networks
from menndl_dask.space.widening import Given, Widened
from menndl_dask.validation import parse_json

KEY = "initial"  # of ``run.yaml``
_BEST = 5  # networks of an earlier run
_ANSWER_S = 600.0  # for importing Keras and reading a model


def initial_networks(names: Sequence[str], problem: Problem) -> list[Genome]:
    """Return the networks to begin a search with, without duplicates.

    A name is ``standard`` for the standard network of the problem's task, ``suitable`` for published networks that are
    made narrow enough for the search (see `menndl_dask.search.suitable_networks`), the name of a published network (see
    `menndl_dask.space.standard.standard.standard_networks`), the directory of a run for its five best networks, or the
    path of a ``.keras`` file; ``none`` alone stands for no networks.

    Raises
    ------
    UserError
        If a name is none of these, or a model has a layer that no gene describes.
    RunError
        If a run is damaged.
    """
    return [given.genome for given in _read(names, problem, {})]


def usual_names(run: Path, evaluations: int | None) -> tuple[str, ...]:
    """Return what a search begins with where its user names no networks; `evaluations` is its number of networks.

    A run that has begun keeps what it began with. A search of few networks begins with the standard one alone.
    """
    known = recorded(run)
    if known is not None:
        return tuple(known) or (NONE,)
    is_short = evaluations is not None and evaluations < FEW
    return (STANDARD,) if is_short or (run / FILE).exists() else (STANDARD, SUITABLE)


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a search begins with: its initial networks by name, and a space that contains them.

    `lines` say what was not as the names let expect.
    """

    space: SearchSpace
    networks: tuple[Given, ...]
    lines: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Sequence[str], problem: Problem, space: SearchSpace, run: Path, seed: int = 0) -> Self:
        """Read the networks of these names, and widen a space for them.

        A run that has begun keeps the networks that it began with: files and runs may have changed since.

        Parameters
        ----------
        names
            As for `initial_networks`.
        problem, space
            Of the search.
        run
            The directory of the run.
        seed
            Of the search.

        Raises
        ------
        UserError
            If a network cannot be read or built, or breaks a limit; the message says which option would change that.
        """
        known = recorded(run)
        given = _read(names, problem, known or {}, space)
        if known is None and (run / FILE).exists():  # of a version that fitted networks to the space
            rngs = (np.random.default_rng([seed, i, 2]) for i in range(len(given)))
            given = [replace(g, genome=space.repair(g.genome, rng)) for g, rng in zip(given, rngs, strict=True)]
        found = Widened(space)
        lines = [f"{each.name}: {note}" for each in given for note in each.notes]
        if STANDARD in names and not any(each.name == STANDARD for each in given):
            lines.append(f"{STANDARD}: the images are too small for a standard network")
        added = []
        for place, each in enumerate(given):
            try:
                found.add(each, may_be_longer=each.name not in (STANDARD, SUITABLE) or not space.is_limited)
            except UserError as refused:
                if each.name == SUITABLE:
                    lines.append(f"left out: {refused}")
                    continue
                if each.name != STANDARD:
                    raise UserError(f"--initial: {refused}") from refused
                # the user may not have named it: it follows the limits
                adapted = found.space.repair(each.genome, np.random.default_rng([seed, place, 2]))
                lines.append(f"changed to fit the space: {refused}")
                found.add(replace(each, genome=adapted))
            added.append(each)
        kept = tuple(replace(g, genome=genome) for g, genome in zip(added, found.genomes, strict=True))
        return cls(found.space, kept, (*lines, *found.lines))


def recorded(run: Path) -> dict[str, list[Genome]] | None:
    """Return the networks that a run has begun with, by name; None where its ``run.yaml`` does not tell, or is missing.

    Raises
    ------
    RunError
        If the run cannot be read.
    """
    path = run / FILE
    settings = read_settings(path) if path.exists() else {}
    if KEY not in settings:
        return None
    found: dict[str, list[Genome]] = {}
    with reading(path, RunError):
        for each in settings[KEY]:
            genome = Genome.from_dict(parse_json(each["genome"], f"{path}: {KEY}", RunError))
            found.setdefault(str(each["name"]), []).append(genome)
    return found


def to_record(given: Iterable[Given]) -> list[dict[str, str]]:
    """Return initial networks as ``run.yaml`` has them under the key `KEY`."""
    return [{"name": each.name, "genome": json.dumps(each.genome.to_dict())} for each in given]


def _read(
    names: Sequence[str], problem: Problem, known: Mapping[str, Sequence[Genome]], space: SearchSpace | None = None
) -> list[Given]:
    """Return the networks of each name, without duplicates; those that are known are not read again."""
    if NONE in names:
        if len(names) > 1:
            raise UserError(f"--initial: expected {NONE} alone, got it among {', '.join(names)}")
        return []
    found: list[Given] = []
    for name in dict.fromkeys(names):
        if name == SUITABLE and name not in known:
            found += _suitable(problem, space or SearchSpace.image(problem))
            continue
        notes: list[str] = []
        genomes = known[name] if name in known else _networks(name, problem, notes)
        found += [Given(name, genome, tuple(notes)) for genome in genomes]
    return list({each.genome.key: each for each in reversed(found)}.values())[::-1]


def _suitable(problem: Problem, space: SearchSpace) -> list[Given]:
    return [Given(SUITABLE, genome, (note,)) for genome, note in suitable_networks(problem, space)]


def _networks(name: str, problem: Problem, notes: list[str]) -> list[Genome]:
    """Return the networks of a name, and note what of a model is not in its genome."""
    path = Path(name)
    if name == STANDARD:
        try:
            return [standard_network(problem)[1]]
        except UserError:  # images of a single pixel have no standard network
            return []
    if name in STANDARD_NETWORKS:
        try:
            return [named_network(name, problem)[1]]
        except UserError as refused:
            raise UserError(f"--initial: {refused}") from refused
    if path.is_dir():
        found = [individual.genome for individual, _ in ranked(Run(path).evaluations, _BEST)]
        unknown = sorted({kind for genome in found for kind in genome.unknown_kinds})
        if unknown:
            again = f"the same command with {own_code.OPTION} {' '.join(unknown)}"
            raise UserError(f"--initial: {path}: its networks have gene kinds of its user; if you trust them, {again}")
        if not found:
            raise UserError(f"--initial: {path}: no network of this run has been evaluated with success")
        return found
    if path.is_file():
        return [_encoded(path, problem, notes)]
    known = standard_networks(problem)
    got = f"got {name!r}{nearest(name, [STANDARD, NONE, *known])}"
    also = f"; published networks: {', '.join(known)}" if known else ""
    expected = f"expected {STANDARD}, {SUITABLE}, {NONE}, a run directory or a .keras file"
    raise UserError(f"--initial: {expected}, {got}{also}")


def _encoded(path: Path, problem: Problem, notes: list[str]) -> Genome:
    """Return the genome of a Keras model, read in a child process: the driver does not import Keras."""
    child = ChildProcess("menndl_dask.prediction.model_process")
    # what this program has imported, the child may import too
    kinds = tuple(map(kind_name, kinds_of_users()))
    imports = tuple(dict.fromkeys([*own_code.allowed(), *code_at_hand(path)]))
    try:
        found = child.ask(("encode", str(path.resolve()), imports, kinds), _ANSWER_S)
        genome = Genome.from_dict(found)
    except TrainerError as error:
        why = str(error).removeprefix(f"{path.resolve()}: ")
        raise UserError(f"--initial: {path}: no genome can be made of this model: {why}") from error
    finally:
        child.close()
    views, images = len(problem.facts.input_shapes), problem.facts.input_shapes[0]
    if len(found["inputs"]) != views:
        raise UserError(f"--initial: {path}: expected a model that reads {views} views, got {len(found['inputs'])}")
    for shape in found["inputs"]:
        if len(shape) != len(images):
            expected = f"expected a model of images of {len(images) - 1} axes and channels"
            raise UserError(f"--initial: {path}: {expected}, got inputs of shape {tuple(shape)}")
    notes += found["notes"]
    return genome
