"""Checks of what users write in YAML files and give to classes, and JSON schemas of them for editors. Pure.

A field of a dataclass carries its check, which serves the error message, the test and the schema:

>>> @dataclass
... class Crew:
...     size: int = checked(integer(1), 1)
>>> read(Crew, {"size": 0}, "crew.yaml")
Traceback (most recent call last):
menndl_dask.errors.UserError: crew.yaml: size: expected an integer ≥ 1, got 0
"""

from __future__ import annotations

import inspect
import json
import re
import reprlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from importlib.resources.abc import Traversable
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from menndl_dask.errors import UserError, nearest, shortened

_T = TypeVar("_T")
# of a YAML file, so that reading it takes less than a second, whatever it holds
_MOST_BYTES = 4 * 2**20
_MOST_VALUES, _DEEPEST, _LONGEST_NUMBER = 100_000, 50, 400
_TAG = "tag:yaml.org,2002:"
_NUMBERS = (_TAG + "int", _TAG + "float", _TAG + "timestamp")
_PLAIN_TAGS = {_TAG + name for name in ("str", "null", "bool", "int", "float", "timestamp", "seq", "map")}


@dataclass(frozen=True, slots=True)
class Check:
    """What a value must be: in words for messages, as a function, and as JSON schema."""

    expected: str
    accepts: Callable[[Any], bool]
    schema: Mapping[str, Any]
    known: tuple[str, ...] = ()  # possible values, of which a message names the nearest

    def demand(self, where: str, value: Any, raises: type[UserError] = UserError) -> None:
        """Raise an error that begins with `where` if a value is not right."""
        if not self.accepts(value):
            near = nearest(value, self.known) if isinstance(value, str) else ""
            raise raises(f"{where}: expected {self.expected}, got {shown(value)}{near}")


def integer(least: int, most: int | None = None, expected: str = "") -> Check:
    """Return the check for an integer in a range, bounds included."""

    def accepts(value: Any) -> bool:
        is_integer = isinstance(value, int) and not isinstance(value, bool)
        return is_integer and value >= least and (most is None or value <= most)

    schema = {"type": "integer", "minimum": least} | ({} if most is None else {"maximum": most})
    words = f"an integer ≥ {least}" if most is None else f"an integer from {least} to {most}"
    return Check(expected or words, accepts, schema)


def number(above: float | None = None, least: float | None = None, most: float | None = None) -> Check:
    """Return the check for a number: greater than `above` or at least `least`, and at most `most`."""
    bounds = {"exclusiveMinimum": above, "minimum": least, "maximum": most}
    schema = {"type": "number"} | {name: bound for name, bound in bounds.items() if bound is not None}
    words = f"({above:g}, {most:g}]" if most is not None else f"> {above:g}" if least is None else f"≥ {least:g}"

    def accepts(value: Any) -> bool:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        is_enough = is_number and (above is None or value > above) and (least is None or value >= least)
        return is_enough and (most is None or value <= most)

    return Check(f"a number {'in ' if most is not None else ''}{words}", accepts, schema)


def one_of(names: Iterable[str]) -> Check:
    """Return the check for one of several words."""
    known = tuple(names)
    expected = f"one of {', '.join(known)}"
    return Check(expected, lambda value: isinstance(value, str) and value in known, {"enum": [*known]}, known)


def text(expected: str = "a text", pattern: str = "") -> Check:
    """Return the check for a text that is not empty, and that a pattern matches as a whole if there is one."""

    def accepts(value: Any) -> bool:
        return isinstance(value, str) and value != "" and (not pattern or re.fullmatch(pattern, value) is not None)

    rule = {"pattern": f"^({pattern})$"} if pattern else {"minLength": 1}
    return Check(expected, accepts, {"type": "string", **rule})


def or_none(check: Check) -> Check:
    """Return a check that also accepts None, which is ``null`` in YAML."""
    schema = {"anyOf": [dict(check.schema), {"type": "null"}]}
    return Check(f"{check.expected} or null", lambda value: value is None or check.accepts(value), schema)


FLAG = Check("true or false", lambda value: isinstance(value, bool), {"type": "boolean"})
PORT_OR_NONE = or_none(integer(0, 65535, "a port, 0 to 65535,"))


def checked(check: Check, default: Any = MISSING, **options: Any) -> Any:
    """Return a dataclass field with a check; None is accepted where it is the default."""
    return field(metadata={"check": check}, **({} if default is MISSING else {"default": default}), **options)


def demand_kind(where: str, value: object, kind: type | tuple[type, ...], example: str) -> None:
    """Raise `UserError` if a value is not of a class of ours; the example says where one comes from.

    >>> demand_kind("problem", None, dict, "a Problem, as open_problem returns it")
    Traceback (most recent call last):
    menndl_dask.errors.UserError: problem: expected a Problem, as open_problem returns it, got None
    """
    if not isinstance(value, kind):
        raise UserError(f"{where}: expected {example}, got {shown(value)}")


def check_values(kind: type, values: Mapping[str, Any], where: str, raises: type[UserError] = UserError) -> None:
    """Raise an error that begins with `where` if a value of a checked field of `kind` is not right."""
    for each in fields(kind):
        check: Check | None = each.metadata.get("check")
        is_none = each.default is None and values.get(each.name) is None
        if check is not None and each.name in values and not is_none:
            check.demand(f"{where}: {each.name}", values[each.name], raises)


def check_keys(
    keys: Iterable[str], known: Collection[str], where: str, raises: type[UserError] = UserError, hint: str = ""
) -> None:
    """Raise an error with the nearest known key and a hint if a key is unknown."""
    for key in keys:
        if key not in known:
            raise raises(f"{where}: unknown key {shown(key)}{hint}{nearest(key, known)}")


def read(
    kind: type[_T], values: Mapping[str, Any], where: str, raises: type[UserError] = UserError, hint: str = ""
) -> _T:
    """Return a dataclass, whose fields may carry checks, of values from YAML or JSON; lists become tuples.

    Parameters
    ----------
    where
        Beginning of messages, such as the file's name.
    raises
        Type of the error for an unknown key or a wrong value.
    hint
        What a message about an unknown key says before the nearest known one.
    """
    if not isinstance(values, Mapping):
        raise raises(f"{where}: expected keys with values, got {shown(values)}")
    known = fields(kind)  # type: ignore[arg-type]
    check_keys(values, [each.name for each in known], where, raises, hint)
    for each in known:
        if each.init and each.name not in values and each.default is MISSING and each.default_factory is MISSING:
            raise raises(f"{where}: expected the key {each.name!r}, got none")
    check_values(kind, values, where, raises)
    check_types(kind, values, where, raises)
    return kind(**{key: _tuples(value) for key, value in values.items()})


def shown(value: Any) -> str:
    """Return a value for a message: as Python writes it, cut to some 100 characters; of an array its type and shape.

    >>> shown("four"), shown([1, 2])
    ("'four'", '[1, 2]')
    """
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return f"{type(value).__name__} of shape {tuple(shape)}"
    written = _SHORT.repr(value)
    return " ".join(written.split()) if "\n" in written else written


def check_types(kind: type, values: Mapping[str, Any], where: str, raises: type[UserError] = UserError) -> None:
    """Raise an error that begins with `where` if a value is not of the annotated type of its field.

    A list may stand for a tuple, and an integer for a float. Fields with a check of their own are left to it.
    """
    hints = _hints(kind)
    for each in fields(kind):
        name = each.name
        if name in values and "check" not in each.metadata and not _is_a(values[name], hints[name]):
            raise raises(f"{where}: {name}: expected {_in_words(str(each.type))}, got {shown(values[name])}")


def parse_json(text: str | bytes, where: str, raises: type[UserError] = UserError) -> Any:
    """Return the value of a text in JSON, in which each key stands once; any other text is an error with one line."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise raises(f"{where}: cannot be read: it is nested too deeply") from None
    except ValueError as error:  # also of the encoding, and of a number with thousands of digits
        raise raises(f"{where}: cannot be read as JSON: {shortened(str(error))}") from None


def read_yaml(file: Path | Traversable, raises: type[UserError] = UserError) -> dict[str, Any]:
    """Read a YAML file of keys and values; the error if it cannot be read or is not YAML names the line.

    What makes a small file a large or a strange value is refused: repeated keys, tags, aliases that repeat much, deep
    nesting.
    """
    import yaml  # not in the process of a training

    try:
        values = _parsed(_text_of(file, raises), f"{file}", raises)
    # ValueError: a date or a number that does not exist
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        why = f"line {mark.line + 1}: {getattr(error, 'problem', '')}" if mark else str(error)
        why = why.replace("did not find expected", "expected")
        raise raises(f"{file}: cannot be read: {shortened(why)}") from None
    if not isinstance(values, Mapping):
        raise raises(f"{file}: expected keys with values, got {shown(values)}")
    return dict(values)


def _text_of(file: Path | Traversable, raises: type[UserError]) -> str:
    if isinstance(file, Path) and file.exists() and not file.is_file():
        raise raises(f"{file}: expected a file, got a folder or a device")
    if isinstance(file, Path) and (size := file.stat().st_size) > _MOST_BYTES:
        raise raises(f"{file}: expected at most {_MOST_BYTES // 2**20} MiB, got {size / 2**20:.0f} MiB")
    text = file.read_text(encoding="utf-8")
    if text.count("\n") + text.count(",") > _MOST_VALUES:
        raise raises(f"{file}: expected at most {_MOST_VALUES:,} values, got more lines and commas than that")
    return text


def _parsed(text: str, where: str, raises: type[UserError]) -> Any:
    """Return the value of a YAML text after a look at its nodes."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _checked_nodes(node, where, raises) > _MOST_VALUES:
            raise raises(f"{where}: expected at most {_MOST_VALUES:,} values, its aliases (*name) make more")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _checked_nodes(root: Any, where: str, raises: type[UserError]) -> int:
    """Return how many values a YAML node makes, those that aliases repeat counted again."""
    counts: dict[int, int] = {}  # of the nodes that are known, by identity
    open_nodes: set[int] = set()

    def count(node: Any, depth: int) -> int:
        line = f"{where}: line {node.start_mark.line + 1}"
        if id(node) in open_nodes or depth > _DEEPEST:
            raise raises(f"{line}: expected values at most {_DEEPEST} levels deep, got more")
        if id(node) in counts:
            return counts[id(node)]
        if node.tag not in _PLAIN_TAGS:
            raise raises(f"{line}: expected a plain value, got the tag {shown(node.tag)}")
        open_nodes.add(id(node))
        total = 1
        if node.id == "scalar":
            if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
                raise raises(f"{line}: expected a number, got one of {len(node.value):,} characters")
        elif node.id == "sequence":
            total += sum(count(each, depth + 1) for each in node.value)
        else:
            keys = [(key.tag, key.value) for key, _ in node.value if key.id == "scalar"]
            for number, key in enumerate(_repeated(keys)):
                if number == 0:
                    raise raises(f"{line}: expected each key once, got {shown(key[1])} twice")
            total += sum(count(each, depth + 1) for pair in node.value for each in pair)
        open_nodes.discard(id(node))
        counts[id(node)] = total
        return total

    return count(root, 0)


def _repeated(keys: Sequence[Any]) -> list[Any]:
    seen: set[Any] = set()
    return [key for key in keys if key in seen or seen.add(key)]  # type: ignore[func-returns-value]


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError(f"expected each key once, got {_repeated([key for key, _ in pairs])[0]!r} twice")
    return values


def schema(kind: type) -> dict[str, Any]:
    """Return the JSON schema of a dataclass with checked fields, described as in its docstring."""
    about = _parameters(kind)
    properties = {}
    for each in fields(kind):
        if check := each.metadata.get("check"):
            shape = dict((or_none(check) if each.default is None else check).schema)
            default = {} if each.default in (MISSING, None) else {"default": each.default}
            properties[each.name] = {"description": about.get(each.name, ""), **shape, **default}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _parameters(kind: type) -> dict[str, str]:
    """Return what a numpydoc docstring says of each parameter."""
    section = inspect.cleandoc(kind.__doc__ or "").partition("Parameters\n----------\n")[2]
    found = re.findall(r"^(\S.*)\n((?: +.*\n?)+)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for names, text in found for name in names.split(", ")}


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value


def _is_a(value: Any, hint: Any) -> bool:
    """Return whether a value from YAML or JSON, or of Python, is of an annotated type."""
    origin, given = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, UnionType):
        return any(_is_a(value, one) for one in given)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            return False
        each = given[:1] * len(value) if given[-1] is Ellipsis else given
        return len(each) == len(value) and all(map(_is_a, value, each))
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint in (int, str, bool, NoneType):
        return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    return isinstance(value, origin or hint)


def _in_words(annotation: str) -> str:
    words = {"str": "text", "int": "integer", "float": "number", "bool": "true or false", "tuple": "list"}
    for word, plain in {**words, " | ": " or ", ", ...": ""}.items():
        annotation = annotation.replace(word, plain)
    return annotation


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 100
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 6
_SHORT.maxlevel = 3
