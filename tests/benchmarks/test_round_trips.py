"""Round trips: a few networks of every space keep the promises of the encoding; the script tries thousands."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import round_trips
from menndl_dask.genome import gene
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers import KINDS, Convolution
from menndl_dask.space.space import SearchSpace
from tests.examples import examples


@pytest.fixture(autouse=True, scope="module")
def _apart() -> Iterator[None]:
    """Forget the users' kinds of other tests meanwhile: they read Keras layers that ours read, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gene, "_KINDS", {name: kind for name, kind in gene._KINDS.items() if not gene.is_users(kind)})
        yield


SEEDS = st.integers(0, 2**31 - 1)
OF_PACKAGE = [name for name in round_trips.SPACES if name != "kinds of a user"]  # whose kinds would read others' layers
ALL_KINDS = [name for name in OF_PACKAGE if name.endswith("all kinds")]


@examples(12)
@given(SEEDS, st.sampled_from(OF_PACKAGE))
def test_networks_of_every_space_keep_the_promises(number: int, name: str) -> None:
    row = round_trips.checked(name, number)
    assert row["failures"] == [], row["genome"]


@examples(24)
@given(SEEDS, st.sampled_from(KINDS), st.sampled_from(ALL_KINDS))
def test_every_kind_keeps_the_promises_in_every_rank(seed: int, kind: type[Layer], name: str) -> None:
    space, rng = round_trips.space_of(name), np.random.default_rng(seed)
    layers = [Convolution(4), space.sample_gene(kind, rng), space.sample_gene(kind, rng), Convolution(6, (1,))]
    assert all(isinstance(layer, Layer) for layer in layers)
    genome = space.repair(Genome(tuple(layers)), rng)
    assert round_trips.broken_promises(genome, space) == []


def test_a_broken_promise_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SearchSpace, "violation", lambda self, genome: "made up")
    assert "made up" in round_trips.checked(OF_PACKAGE[0], 0)["failures"][0]
