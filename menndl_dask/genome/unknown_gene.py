"""Genes of kinds that this process does not know: their names and their settings, as data. Pure.

A genome names a user's own gene kind as ``module:Name``. Where the module is not imported, the gene can be read, shown
and written again, but no network can be built from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from menndl_dask.errors import GenomeError, one_line
from menndl_dask.genome.gene import Gene
from menndl_dask.genome.layer import Layer
from menndl_dask.validation import shown

_OF_LAYERS = ("inputs", "join")


@dataclass(frozen=True, slots=True)
class UnknownGene(Gene):
    """A gene that is no layer and whose kind is not known; `settings` are its fields as JSON."""

    name: str
    settings: str = "{}"

    @staticmethod
    def of(name: str, values: Mapping[str, Any]) -> UnknownGene | UnknownLayer:
        """Return the gene of a kind's name and the fields that stand with it; a layer if it says what it reads.

        Raises
        ------
        GenomeError
            If what it reads is not said as in any layer.
        """
        if "inputs" not in values:
            return UnknownGene(name, _written(name, values))
        own = {key: value for key, value in values.items() if key not in _OF_LAYERS}
        inputs = values["inputs"]
        inputs = tuple(inputs) if isinstance(inputs, list) else inputs
        join = values.get("join", "concatenate")
        return UnknownLayer(name=name, settings=_written(name, own), inputs=inputs, join=join)

    def to_dict(self) -> dict[str, Any]:
        """Return the gene as it was read."""
        return {"kind": self.name, **json.loads(self.settings)}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownLayer(Layer):
    """A layer whose kind is not known; `settings` are its fields as JSON, but for what it reads."""

    name: str
    settings: str = "{}"

    def to_dict(self) -> dict[str, Any]:
        """Return the gene as it was read."""
        return {"kind": self.name, "inputs": list(self.inputs), "join": self.join, **json.loads(self.settings)}

    def _without(self, rule: str) -> GenomeError:
        return GenomeError(f"gene kind {self.name!r} is not known here: its module was not imported")


def _written(name: str, values: Mapping[str, Any]) -> str:
    try:
        return json.dumps(values, sort_keys=True)
    except (RecursionError, TypeError, ValueError) as error:
        raise GenomeError(f"gene kind {shown(name)}: expected plain values, as in JSON: {one_line(error)}") from error
