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
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar

from menndl_dask.errors import UserError, nearest, shortened

_T = TypeVar("_T")


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
            raise raises(f"{where}: expected {self.expected}, got {value!r}{near}")


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
    return Check(f"one of {', '.join(known)}", lambda value: value in known, {"enum": [*known]}, known)


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
            raise raises(f"{where}: unknown key {key!r}{hint}{nearest(key, known)}")


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
    check_keys(values, [each.name for each in fields(kind)], where, raises, hint)  # type: ignore[arg-type]
    check_values(kind, values, where, raises)
    return kind(**{key: _tuples(value) for key, value in values.items()})


def read_yaml(file: Path | Traversable, raises: type[UserError] = UserError) -> dict[str, Any]:
    """Read a YAML file of keys and values; the error if it cannot be read or is not YAML names the line."""
    import yaml  # not in the process of a training

    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        why = f"line {mark.line + 1}: {getattr(error, 'problem', '')}" if mark else shortened(str(error))
        raise raises(f"{file}: cannot be read: {why}") from None
    if not isinstance(values, Mapping):
        raise raises(f"{file}: expected keys with values, got {values!r}")
    return dict(values)


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
