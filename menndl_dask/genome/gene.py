"""Genes: one layer's choices each, as frozen values that go to and from plain dicts. Pure."""

from __future__ import annotations

import marshal
import re
import sys
from collections.abc import Mapping
from dataclasses import Field, fields, replace
from functools import cache, lru_cache
from typing import Any, ClassVar, Self

from menndl_dask.errors import GenomeError, UserError, nearest
from menndl_dask.genome.domain import Choice, Domain, in_words
from menndl_dask.own_code import import_own, importable_name, is_allowed, is_reference
from menndl_dask.validation import shown

_DEEPEST = 8  # lists in lists
_LONGEST = 2000  # bytes of a gene that is kept for the next dict like it
_UNKNOWN = ("UnknownGene", "UnknownLayer")
_OWN_MODULES = (
    "menndl_dask.genome.layers", "menndl_dask.genome.training_gene", "menndl_dask.genome.unknown_gene",
    "menndl_dask.genome.forms.cell",
)  # fmt: skip
_REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.([^\W\d]\w*|<locals>))*")
_KINDS: dict[str, type[Gene]] = {}  # every kind defined so far, by the name it has in a dict


class Gene:
    """Base of all gene kinds: subclass it as a frozen dataclass whose fields carry their domain.

    >>> from dataclasses import dataclass
    >>> from menndl_dask.genome.domain import choice, integer
    >>> @dataclass(frozen=True, slots=True)
    ... class Block(Gene):
    ...     operation: str = choice("conv3", "pool")
    ...     width: int = integer(4, 64, log=True, default=8)
    >>> sorted(Block.domains())
    ['operation', 'width']
    """

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    _kind_name: ClassVar[str] = "Gene"  # see `kind_name`

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # object.__init_subclass__: a slotted dataclass is made twice, and zero-argument super() fails the second time
        object.__init_subclass__(**kwargs)
        # kept: a script's kind may be sent to another program, and a slotted dataclass loses its outer classes' names
        if "_kind_name" not in vars(cls):
            cls._kind_name = _name_of(cls)
        # pickled by value, a script's kind is first made without its body, even where it is known
        if cls._kind_name not in _KINDS or not _is_empty(cls):
            _KINDS[cls._kind_name] = cls

    @classmethod
    @cache
    def domains(cls) -> Mapping[str, Domain]:
        """Return the domain of each field that has one, in the order of the fields."""
        return {f.name: f.metadata["domain"] for f in fields(cls) if "domain" in f.metadata}

    @classmethod
    def check_kind(cls) -> None:
        """Check that genes of this kind can be searched.

        Raises
        ------
        UserError
            If the class is no frozen dataclass, or has fields and none of them a domain.
        """
        parameters = vars(cls).get("__dataclass_params__")
        if parameters is None or not parameters.frozen:
            got = "no dataclass" if parameters is None else "one that is not frozen"
            raise UserError(f"{kind_name(cls)}: expected a class with @dataclass(frozen=True, slots=True), got {got}")
        own = [each.name for each in fields(cls) if each.name in vars(cls).get("__annotations__", ())]
        if own and not any(f.metadata.keys() & {"domain", "valid"} for f in fields(cls)):
            example = f"{own[0]}: int = integer(1, 8)"
            raise UserError(f"{kind_name(cls)}.{own[0]}: expected a domain to choose from, such as {example}, got none")

    @classmethod
    @cache
    def _bounds(cls) -> tuple[tuple[str, Any], ...]:
        """Return the fields whose values are checked, and what is valid; of a user's kind only those that say so."""
        own = not is_users(cls)
        bounds = [(f.name, f.metadata.get("valid") or (f.metadata.get("domain") if own else None)) for f in fields(cls)]
        return tuple((name, bound) for name, bound in bounds if bound is not None)

    def check_values(self) -> None:
        """Check that each field has a valid value.

        Raises
        ------
        GenomeError
            If one has not; the message names kind and field.
        """
        for name, bound in self._bounds():
            if not bound.contains(getattr(self, name)):
                raise wrong_value(type(self), name, bound, getattr(self, name))

    def replaced(self, **changes: Any) -> Self:
        """Return the gene with some fields changed."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the gene as a plain dict that JSON and YAML can hold."""
        values = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        return {"kind": kind_name(type(self)), **values}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read a gene of any kind back.

        A user's own kind that is neither imported nor allowed to be (`menndl_dask.own_code`) is read as an
        `menndl_dask.genome.unknown_gene.UnknownGene`.

        Raises
        ------
        GenomeError
            If the kind or a field is unknown, or a value has the wrong type.
        """
        if not isinstance(data, Mapping):
            raise GenomeError(f"expected a gene, a dict with its kind, got {shown(data)}")
        name = data.get("kind")
        if not isinstance(name, str):
            raise GenomeError(f"gene kind: expected a name, got {shown(name)}")
        if name in _UNKNOWN:
            raise GenomeError(f"unknown gene kind {shown(name)}")
        if is_reference(name) and name not in _KINDS:
            _check_reference(name)
            if not is_allowed(name):
                unknown: Any = find_kind(_UNKNOWN[0])
                return unknown.of(name, {key: value for key, value in data.items() if key != "kind"})  # type: ignore[no-any-return]
        gene = _made(find_kind(name), data)
        if not isinstance(gene, cls):
            raise GenomeError(f"expected a gene of kind {cls.__name__}, got {kind_name(type(gene))}")
        return gene


def wrong_value(kind: type[Gene], name: str, bound: Any, value: object) -> GenomeError:
    """Return the error for a field whose value is not valid."""
    words = [each for each in getattr(bound, "values", ()) if isinstance(each, str)]
    meant = nearest(value, words) if isinstance(value, str) else ""
    return GenomeError(f"{kind_name(kind)}: {name}: expected {in_words(bound)}, got {shown(value)}{meant}")


def kind_name(kind: type[Gene]) -> str:
    """Return the name of a gene kind in a dict: the bare name for our own, ``module:Name`` for a user's.

    The module of a kind that a script ``search.py`` defines is ``search``, as which other processes can import it.
    """
    return kind._kind_name  # noqa: SLF001 - an attribute without an underscore could be a field of the user's


def _is_empty(kind: type[Gene]) -> bool:
    """Return whether a class has neither fields nor methods of its own."""
    own = vars(kind)
    known = {"_kind_name", "__module__", "__doc__", "__slots__", "__dict__", "__weakref__", *own.get("__slots__", ())}
    return own.keys() <= known


def _name_of(kind: type[Gene]) -> str:
    if kind.__module__.partition(".")[0] == __name__.partition(".")[0]:
        return kind.__name__
    return f"{importable_name(kind.__module__)}:{kind.__qualname__}"


def is_users(kind: type[Gene]) -> bool:
    """Tell whether a gene kind is a user's, not the package's own."""
    return ":" in kind_name(kind)


def kinds_of_users() -> list[type[Gene]]:
    """Return the gene kinds that are not the package's own, in the order in which they were defined."""
    return [kind for kind in _KINDS.values() if is_users(kind)]


def find_kind(name: str) -> type[Gene]:
    """Return the gene kind of that name, importing the module of a user's own kind if that is allowed.

    Raises
    ------
    GenomeError
        If there is no such kind.
    """
    for module in [name.partition(":")[0]] if is_reference(name) else _OWN_MODULES:
        if name in _KINDS or (is_reference(name) and not is_allowed(name)):
            break
        if is_reference(name):
            _check_reference(name)
        try:
            import_own(module, f"gene kind {name!r}")
        except UserError as error:
            raise GenomeError(str(error)) from error
    if name not in _KINDS or _is_base(_KINDS[name]):
        known = [each for each, kind in _KINDS.items() if not _is_base(kind)]
        raise GenomeError(f"unknown gene kind {shown(name)}{nearest(name, known)}")
    return _KINDS[name]


def _is_base(kind: type[Gene]) -> bool:
    """Tell whether a class of the package is a base of gene kinds without fields of its own."""
    return "__dataclass_fields__" not in vars(kind) and not is_users(kind)


def _check_reference(name: str) -> None:
    """Refuse a name that cannot be that of a user's kind; Python's own modules have none."""
    if not _REFERENCE.fullmatch(name) or name.partition(":")[0].partition(".")[0] in sys.stdlib_module_names:
        raise GenomeError(f"gene kind: expected a name, or module:Name of your own module, got {shown(name)}")


def _made(kind: type[Gene], data: Mapping[str, Any]) -> Gene:
    """Return the gene of a kind with the fields that stand in a dict; the same one for equal dicts.

    A driver that resumes reads the same genes thousands of times.
    """
    known: Any = kind  # which can be hashed
    plain: Any = data
    try:
        written = marshal.dumps(plain, 2)  # unlike a comparison, it tells 1, 1.0 and True apart
    except ValueError:  # lists that are too deep, and what is no plain value
        return _read(kind, data)
    return _remembered(known, written) if len(written) < _LONGEST else _read(kind, data)


@lru_cache(maxsize=8192)
def _remembered(kind: type[Gene], written: bytes) -> Gene:
    return _read(kind, marshal.loads(written))


def _read(kind: type[Gene], data: Mapping[str, Any]) -> Gene:
    """Read the gene of a kind from a dict."""
    domains, known = kind.domains(), [f.name for f in fields(kind)]
    values = {name: _frozen(value) for name, value in data.items() if name != "kind"}
    for name, value in values.items():
        if name not in known:
            raise GenomeError(f"{kind_name(kind)}: unknown field {shown(name)}{nearest(str(name), known)}")
        domain = domains.get(name)
        words = isinstance(domain, Choice) and isinstance(domain.values[0], str)  # another word means another layer
        if domain and is_users(kind) and not (domain.contains(value) if words else domain.accepts(value)):
            raise wrong_value(kind, name, domain, value)
    try:
        gene = kind(**values)
    except TypeError as error:  # a field is missing, or its value is of a wrong type
        raise GenomeError(f"{kind_name(kind)}: cannot be made: {error}") from error
    gene.check_values()
    return gene


def _plain(value: Any) -> Any:
    if isinstance(value, Gene):  # of the body of a cell
        return value.to_dict()
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _frozen(value: Any, depth: int = 0) -> Any:
    if depth > _DEEPEST:
        raise GenomeError(f"expected lists in lists at most {_DEEPEST} deep, got deeper ones")
    return tuple(_frozen(v, depth + 1) for v in value) if isinstance(value, list) else value
