"""Labels: the text of a gene that keys are made of, and the number that stands for it. Pure."""

from __future__ import annotations

from dataclasses import fields
from functools import lru_cache
from hashlib import blake2b

from menndl_dask.genome.gene import Gene, is_users, kind_name
from menndl_dask.genome.layer import Layer


@lru_cache(maxsize=8192)
def label(gene: Gene) -> str:
    """Return the text that stands for a gene in keys."""
    kind = kind_name(type(gene))
    # the module that our kinds were in when the first runs were written: every key ever stored depends on it
    kind = kind if is_users(type(gene)) else f"menndl_dask.layer:{kind}"
    values = [(f, getattr(gene, f.name)) for f in fields(gene)]
    return f"{kind}{sorted((f.name, v) for f, v in values if not (f.metadata.get('later') and v == f.default))!r}"


@lru_cache(maxsize=8192)
def colour(gene: Gene) -> int:
    """Return a number of 64 bits for a gene's label, the same in every process."""
    return _number(label(gene))


def colour_of_kind(layer: Layer) -> int:
    """Return a number of 64 bits for a layer's kind and join, the same in every process."""
    return _number(f"{kind_name(type(layer))} {layer.join}")


def _number(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
