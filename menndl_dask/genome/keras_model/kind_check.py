"""A check of a user's own gene kind before a search: does all that a search needs of it work? Runs wherever Keras is.

A small network with a gene of the kind is built, saved, loaded and encoded. What fails here would fail after the first
training, or when the best network is opened.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from menndl_dask.errors import GenomeError, InfeasibleError, MenndlError, one_line
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.gene import kind_name
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model.decoder import decode
from menndl_dask.genome.keras_model.encoder import encode
from menndl_dask.genome.keras_model.network_file import check_network, load_network
from menndl_dask.genome.keras_model.own_kinds import is_alike
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers import Convolution, FullyConnected
from menndl_dask.problem import Problem

_DRAWN = 3  # genes beside that with the defaults
_CLOSE = 1e-4  # between outputs of about 1


def check_kind(kind: type[Layer], problem: Problem) -> list[str]:
    """Return the names of the user's own Keras layers that networks of a kind need, such as ``my_keras:Gate``.

    Raises
    ------
    GenomeError
        In one line that names the kind, and what of it does not work.
    """
    found: set[str] = set()
    for gene in _genes(kind):
        genome = _network(gene, problem)
        if genome is not None:
            try:
                found.update(_checked(genome, problem))
            except MenndlError as error:
                raise GenomeError(f"gene kind {kind_name(kind)}: {gene}: {error}") from error
    return sorted(found)


def _genes(kind: type[Layer]) -> Iterator[Layer]:
    """Yield a gene with the defaults of all fields, and some with values drawn from their domains."""
    rng = np.random.default_rng(0)
    drawn = [{name: domain.sample(rng) for name, domain in kind.domains().items()} for _ in range(_DRAWN)]
    for values in ({}, *drawn):
        try:
            yield kind(**values)
        except Exception as error:  # of the user's class
            raise GenomeError(f"gene kind {kind_name(kind)}: cannot be made: {one_line(error)}") from error


def _network(gene: Layer, problem: Problem) -> Genome | None:
    """Return a network with a gene that can be built for a problem; None if no simple one can."""
    for before in ((Convolution(16),), (FullyConnected(16),), ()):
        genome = Genome((*before, gene))
        try:
            cost_of(genome, problem)
        except InfeasibleError:
            continue
        if genome.canonical().layers:
            return genome
    return None


def _checked(genome: Genome, problem: Problem) -> list[str]:
    """Build, save, load and encode a network, and return the user's own Keras layers that its file names."""
    try:
        model = decode(genome, problem)
    except MenndlError:
        raise
    except Exception as error:
        raise GenomeError(f"build: {one_line(error)}") from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.keras"
        try:
            model.save(path)
            loaded = load_network(path)
        except Exception as error:
            why = "its Keras layer needs `get_config` with all arguments of `__init__`"
            raise GenomeError(f"cannot be saved and loaded again ({why}): {one_line(error)}") from error
        own = [each.reference for each in check_network(path)]
    given = [np.random.default_rng(0).normal(size=(2, *tensor.shape[1:])).astype("float32") for tensor in model.inputs]
    before, again, after = (
        np.asarray(each.predict_on_batch(given if len(given) > 1 else given[0])) for each in (model, model, loaded)
    )
    if np.array_equal(before, again) and not np.allclose(before, after, atol=_CLOSE * (1 + np.abs(before).max())):
        expected = "expected that its layers hold all weights, and `get_config` all arguments of `__init__`"
        raise GenomeError(f"a saved network predicts otherwise when it is loaded: {expected}")
    try:
        read: Any = encode(loaded)
    except GenomeError as error:
        raise GenomeError(f"read: a network with this gene has no genome: {error}") from error
    if read != genome and not is_alike(model, decode(read, problem)):  # some settings make no difference there
        got = ", ".join(map(str, read.layers))
        raise GenomeError(f"read: expected the gene that the network was built of, got {got}")
    keras.utils.clear_session()
    return own
