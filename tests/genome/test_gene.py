"""Genes: frozen values with domains, to and from plain dicts."""

from __future__ import annotations

import json
import math
import sys
from contextlib import suppress
from dataclasses import FrozenInstanceError, dataclass, fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask import own_code
from menndl_dask.errors import GenomeError, InfeasibleError
from menndl_dask.genome import gene
from menndl_dask.genome.domain import Choice, choice, integer
from menndl_dask.genome.gene import Gene, find_kind, kind_name, kinds_of_users
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers import KINDS, Convolution
from menndl_dask.genome.training_gene import Training
from tests.examples import examples
from tests.kinds import EXTRA, Noise


@dataclass(frozen=True, slots=True)
class Block(Gene):
    operation: str = choice("conv3", "pool")
    width: int = integer(4, 64, log=True, default=8)
    note: str = "a field without a domain"


def test_a_gene_is_a_frozen_value() -> None:
    gene = Block("pool", 16)
    with pytest.raises(FrozenInstanceError):
        gene.width = 3  # type: ignore[misc]
    assert gene == Block("pool", 16)
    assert gene.replaced(width=32) == Block("pool", 32)
    assert not hasattr(gene, "__dict__")


def test_only_fields_with_a_domain_are_searched() -> None:
    assert Block.domains() == {"operation": Choice(("conv3", "pool")), "width": Block.domains()["width"]}


def test_a_kind_of_the_package_has_a_bare_name_and_a_users_the_module_too() -> None:
    assert kind_name(Convolution) == "Convolution"
    assert kind_name(Noise) == "tests.kinds:Noise"
    assert find_kind("tests.kinds:Noise") is Noise
    assert find_kind("Convolution") is Convolution


def test_the_kinds_of_users_are_known_apart_from_the_packages_own() -> None:
    assert set(EXTRA) <= set(kinds_of_users())
    assert Convolution not in kinds_of_users()
    assert kinds_of_users().count(Noise) == 1  # a slotted dataclass is made twice


def test_a_gene_goes_to_a_plain_dict_and_back() -> None:
    gene = Training("sgd", 0.01, 64, 0.0)
    assert gene.to_dict() == {
        "kind": "Training", "optimizer": "sgd", "learning_rate": 0.01, "batch_size": 64, "weight_decay": 0.0
    }  # fmt: skip
    assert Gene.from_dict(gene.to_dict()) == gene
    layer = Convolution(8, (3, 5), inputs=(1, 2))
    assert layer.to_dict()["kernel_size"] == [3, 5]
    assert Gene.from_dict(layer.to_dict()) == layer
    assert Block.from_dict(Block("pool").to_dict()) == Block("pool")


def test_an_encoded_value_may_lie_outside_of_its_domain() -> None:
    # a model that somebody built has the sizes that it has
    assert Gene.from_dict({"kind": "Convolution", "kernels": 1000}).replaced() == Convolution(1000)


def test_a_kind_of_a_user_is_imported_only_where_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_kinds_of_gene.py").write_text(
        "from dataclasses import dataclass\nfrom menndl_dask import Gene, choice\n\n"
        "@dataclass(frozen=True, slots=True)\nclass Mine(Gene):\n    word: str = choice('a', 'b')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    written = {"kind": "my_kinds_of_gene:Mine", "word": "b"}
    unknown = Gene.from_dict(written)
    assert "my_kinds_of_gene" not in sys.modules
    assert unknown.to_dict() == written
    assert Genome((unknown,)).unknown_kinds == ["my_kinds_of_gene:Mine"]
    own_code.allow(["my_kinds_of_gene:Mine"])
    gene = Gene.from_dict(written)
    assert type(gene) is sys.modules["my_kinds_of_gene"].Mine
    own_code.allow(["my_kinds_of_gene"])
    with pytest.raises(GenomeError, match="unknown gene kind 'my_kinds_of_gene:Main'; did you mean"):
        Gene.from_dict({"kind": "my_kinds_of_gene:Main"})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kind": "Training", "optimizer": 3}, "Training: optimizer: expected one of 'adam', .*'rmsprop', got 3"),
        ({"kind": "Training", "rate": 3}, "Training: unknown field 'rate'"),
        ({"word": "b"}, "gene kind: expected a name, got None"),
        ({"kind": ":X"}, "expected a name, or module:Name of your own module, got ':X'"),
        ({"kind": ".x:X"}, "expected a name, or module:Name of your own module, got '.x:X'"),
        ({"kind": "os:system"}, "expected a name, or module:Name of your own module, got 'os:system'"),
        ({"kind": "a b:X", "inputs": [1]}, "expected a name, or module:Name of your own module, got 'a b:X'"),
        ({"kind": "tests.kinds:Noise", "amount": "much"}, "Noise: amount: expected a number from 0.01 to 0.5"),
        ({"kind": "UnknownGene", "name": "os:system"}, "unknown gene kind 'UnknownGene'"),
        ({"kind": "nowhere:Kind", "inputs": "all"}, "inputs: expected offsets from 1 to 10,000, got 'all'"),
    ],
)
def test_what_is_no_gene_is_refused_in_words(data: dict[str, object], message: str) -> None:
    with pytest.raises(GenomeError, match=message):
        Gene.from_dict(data)


def test_a_gene_of_another_kind_than_expected_is_refused() -> None:
    with pytest.raises(GenomeError, match="expected a gene of kind Convolution, got Training"):
        Convolution.from_dict({"kind": "Training"})


def test_equal_dicts_give_one_gene_and_numbers_of_other_types_do_not() -> None:
    first = Gene.from_dict({"kind": "Convolution", "kernels": 8, "kernel_size": [3]})
    assert Gene.from_dict({"kind": "Convolution", "kernels": 8, "kernel_size": [3]}) is first
    for other in ({"kernels": 8.0, "kernel_size": [3]}, {"kernels": 8, "kernel_size": [3.0]}, {"kernels": True}):
        with pytest.raises(GenomeError, match="expected"):
            Gene.from_dict({"kind": "Convolution", **other})


def _gene_or_line(data: dict[str, object]) -> Gene | str:
    try:
        return Gene.from_dict(data)
    except GenomeError as error:
        return str(error)


NUMBERS = st.integers() | st.floats() | st.integers(-3, 70_000)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.text(max_size=4) | NUMBERS, lambda inner: st.lists(inner, max_size=4), max_leaves=6
)


@examples(300)
@given(st.sampled_from([*KINDS, Training]), st.data())
def test_whatever_stands_in_a_field_is_a_gene_that_can_be_costed_or_an_error_in_a_line(
    kind: type[Gene], data: st.DataObject
) -> None:
    names = [f.name for f in fields(kind)]
    chosen = data.draw(st.lists(st.sampled_from(names), unique=True, max_size=3))
    given_values = {name: data.draw(ANYTHING) for name in chosen}
    gene = _gene_or_line({"kind": kind_name(kind), **given_values})
    if isinstance(gene, str):
        assert len(gene) <= 500
        assert "\n" not in gene
        return
    assert Gene.from_dict(json.loads(json.dumps(gene.to_dict()))) == gene
    if not isinstance(gene, Layer):
        return
    for shape in ((7,), (9, 4), (8, 6, 8), (4, 6, 5, 2)):
        try:
            after = gene.output_shape(shape)
        except (InfeasibleError, ValueError):
            continue
        assert all(isinstance(n, int) and n > 0 for n in after)
        assert gene.parameter_count(shape) >= 0
        assert 0 <= gene.forward_flops(shape) < math.inf
        assert gene.kept_values(shape) > 0
        simple = gene.simplified()
        assert simple.is_identity or simple.output_shape(shape) == after
        assert len(gene.windows(shape[:-1])) == len(shape) - 1
        gene.suited(shape).output_shape(shape)


@pytest.mark.parametrize("kind", ["Convolution", "Cell", "my_layers:Own", None])
@pytest.mark.parametrize("field", ["kind", "inputs", "join", "kernels", "body", "no_such_field"])
def test_values_that_are_nested_deeply_are_refused_in_a_short_line(kind: str | None, field: str) -> None:
    deep: object = 1
    for level in range(5000):
        deep = {"a": deep} if level % 2 else [deep]
    with pytest.raises(GenomeError) as refused:
        Gene.from_dict({"kind": kind, "inputs": [1], field: deep})
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("name", [name for name in gene._KINDS if ":" not in name])
def test_a_name_of_the_package_alone_is_a_gene_or_refused(name: str) -> None:
    with suppress(GenomeError):
        assert Genome.from_dict({"genes": [{"kind": name}]}).key


@pytest.mark.parametrize("base", ["Border", "SlidingKernel", "SlidingKernelByChannel"])
def test_a_base_of_gene_kinds_is_no_kind(base: str) -> None:
    with pytest.raises(GenomeError, match=f"unknown gene kind '{base}'"):
        Genome.from_dict({"genes": [{"kind": base}]})
