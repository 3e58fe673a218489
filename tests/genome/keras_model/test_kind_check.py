"""The check of a user's own gene kind: what would fail after the first training is one line before the search."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import pytest

from menndl_dask.errors import GenomeError
from menndl_dask.genome import gene
from menndl_dask.genome.domain import choice, real
from menndl_dask.genome.keras_model.kind_check import check_kind
from menndl_dask.genome.layer import Layer
from tests.kinds import Noise
from tests.problems import problem

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
OF = problem("classification", ((8, 8, 2),))
Shape = tuple[int, ...]


class Times(keras.layers.Layer):
    """A layer that is not registered with Keras."""

    def __init__(self, factor: Any = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.factor = factor

    def call(self, given: Any) -> Any:
        return given * self.factor

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


class Forgetful(Times):
    """A layer that does not say its factor."""

    def get_config(self) -> dict[str, Any]:
        return keras.layers.Layer.get_config(self)


class Unsaved(Times):
    """A layer that cannot be saved: its factor is a function."""

    def call(self, given: Any) -> Any:
        return given * self.factor()


def kind_of(layer: Any, *, weights: int = 0, **settings: Any) -> type[Layer]:
    """Return a gene kind that builds a Keras layer."""

    @dataclass(frozen=True, slots=True)
    class Mine(Layer):
        factor: float = choice(2.0, 3.0)

        def output_shape(self, shape: Shape) -> Shape:
            return shape

        def parameter_count(self, shape: Shape) -> int:
            return weights

        def forward_flops(self, shape: Shape) -> float:
            return float(math.prod(shape))

        def build(self, tensor: Any, name: str, seeds: Callable[[], int]) -> Any:
            factor = (lambda: self.factor) if layer is Unsaved else self.factor
            return layer(factor, name=name)(tensor)

    return Mine


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gene, "_KINDS", dict(gene._KINDS))


def test_a_kind_that_works_tells_the_keras_layers_of_the_users_own_that_its_networks_need() -> None:
    assert check_kind(kind_of(Times), OF) == [f"{__name__}:Times"]
    assert check_kind(Noise, OF) == []


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (lambda: kind_of(Times, weights=1), "parameter_count: expected 1 by its rule, got 0 from Keras"),
        (lambda: kind_of(Forgetful), "a saved network predicts otherwise when it is loaded: expected"),
        (lambda: kind_of(Unsaved), "cannot be saved and loaded again .its Keras layer needs `get_config`"),
        (lambda: kind_of(lambda *_, **__: 1 / 0), "build: ZeroDivisionError"),
    ],
)
def test_what_does_not_work_is_one_line_that_names_the_kind(kind: Callable[[], type[Layer]], told: str) -> None:
    with pytest.raises(GenomeError, match=f"gene kind .*Mine: .*{told}") as caught:
        check_kind(kind(), OF)
    assert "\n" not in str(caught.value) and len(str(caught.value)) <= 500


def test_a_read_that_gives_another_gene_is_told() -> None:
    @dataclass(frozen=True, slots=True)
    class Wrong(Noise):
        amount: float = real(0.1, 0.5)

        def build(self, tensor: Any, name: str, seeds: Callable[[], int]) -> Any:
            return keras.layers.GaussianDropout(self.amount, seed=seeds(), name=name)(tensor)

        @classmethod
        def read(cls, layer: Any) -> Any:
            return cls(0.3) if type(layer).__name__ == "GaussianDropout" else None

    with pytest.raises(GenomeError, match=r"Wrong: .*amount=0.1.*: read: expected the gene .*, got .*amount=0.3"):
        check_kind(Wrong, OF)
