"""Census: every genome of a small search space."""

from __future__ import annotations

import pytest

from menndl_dask.genome.domain import Choice, Integer, PerAxis, Real
from menndl_dask.space.enumeration import every_genome, every_value
from menndl_dask.space.space import SearchSpace
from tests.spaces import Edge, even_edges


def test_every_genome_is_named_once() -> None:
    space = SearchSpace.sequence([Edge], minimum=1, maximum=3)
    genomes = list(every_genome(space))
    assert len(genomes) == len({g.key for g in genomes}) == space.size == 5 + 25 + 125


def test_constraints_are_kept() -> None:
    genomes = list(every_genome(SearchSpace.sequence([Edge], minimum=1, maximum=3, constraints=[even_edges])))
    assert {len(genome) for genome in genomes} == {2}


@pytest.mark.parametrize(
    "domain", [Choice(("a", "b")), Integer(2, 5), PerAxis(Choice((1, 3)), 2), Real(0.5, 0.5)], ids=str
)
def test_every_value_belongs_to_its_domain(domain: Choice | Integer | PerAxis | Real) -> None:
    values = every_value(domain)
    assert len(values) == len(set(values)) == domain.size
    assert all(domain.contains(value) for value in values)


def test_real_values_cannot_be_counted() -> None:
    with pytest.raises(ValueError, match="finitely many"):
        every_value(Real(0.0, 1.0))
