"""One reader and validator for what users write: a mistake is one line with file, key and what was expected."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from menndl_dask.errors import RunError, UserError
from menndl_dask.validation import (
    checked,
    integer,
    number,
    one_of,
    or_none,
    parse_json,
    read,
    read_yaml,
    schema,
    text,
)


@dataclass(frozen=True)
class Oven:
    """An oven.

    Parameters
    ----------
    shelves, trays
        How many,
        one or more.
    heat
        Of the oven.
    """

    shelves: int = checked(integer(1))
    trays: int | None = checked(integer(0, 8), None)
    heat: str = checked(one_of(("top", "bottom")), "top")
    share: float = checked(number(above=0, most=1), 1.0)
    name: str | None = checked(or_none(text()), "oven")
    sizes: tuple[tuple[int, ...], ...] = ()


def test_lists_become_tuples_and_none_is_accepted_where_it_is_the_default() -> None:
    values = {"shelves": 2, "trays": None, "name": None, "sizes": [[1, 2], [3]]}
    assert read(Oven, values, "x") == Oven(2, name=None, sizes=((1, 2), (3,)))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"shelves": True}, "oven.yaml: shelves: expected an integer ≥ 1, got True"),
        ({"shelves": None}, "oven.yaml: shelves: expected an integer ≥ 1, got None"),
        ({"trays": 9}, "oven.yaml: trays: expected an integer from 0 to 8, got 9"),
        ({"heat": "botom"}, "oven.yaml: heat: expected one of top, bottom, got 'botom'; did you mean 'bottom'?"),
        ({"share": 0}, "oven.yaml: share: expected a number in (0, 1], got 0"),
        ({"share": False}, "oven.yaml: share: expected a number in (0, 1], got False"),
        ({"name": ""}, "oven.yaml: name: expected a text or null, got ''"),
        ({"shelfs": 1}, "oven.yaml: unknown key 'shelfs'; did you mean 'shelves'?"),
    ],
)
def test_a_mistake_names_the_key_and_what_was_expected(values: dict[str, object], told: str) -> None:
    with pytest.raises(RunError) as caught:
        read(Oven, {"shelves": 1, **values}, "oven.yaml", RunError)
    assert str(caught.value) == told


def test_a_mistake_in_yaml_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "oven.yaml"
    path.write_text("shelves: 2\nheat: [top\n")
    with pytest.raises(UserError, match=r"oven\.yaml: cannot be read: line 3: expected ',' or '\]'"):
        read_yaml(path)
    path.write_text("")
    with pytest.raises(UserError, match=r"oven\.yaml: expected keys with values, got None"):
        read_yaml(path)


def test_a_schema_says_the_same_and_is_described_as_the_docstring() -> None:
    shape = schema(Oven)
    assert shape["additionalProperties"] is False
    assert shape["properties"]["shelves"] == {"description": "How many, one or more.", "type": "integer", "minimum": 1}
    assert shape["properties"]["heat"] == {"description": "Of the oven.", "enum": ["top", "bottom"], "default": "top"}
    assert {"type": "null"} in shape["properties"]["trays"]["anyOf"]
    assert shape["properties"]["share"]["exclusiveMinimum"] == 0


_ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (_ALIASES, "expected at most 100,000 values, its aliases"),
        ("a: &a [*a]", "line 1: expected values at most 50 levels deep"),
        ("shelves: 2\nheat: !!python/object/apply:os.mkdir [made]", "line 2: expected a plain value, got the tag"),
        ("shelves: 2\nheat: !!binary aGk=", "line 2: expected a plain value, got the tag"),
        ("shelves: 2\nshelves: 3", "expected each key once, got 'shelves' twice"),
        ("a: " + "[" * 100 + "]" * 100, "expected values at most 50 levels deep"),
        ("[" * 100_000, "cannot be read"),
        ("a: " + "9" * 5_000, "expected a number, got one of 5,000 characters"),
        ("a: 1" + ":1" * 100_000, "expected a number, got one of 200,001 characters"),
        ("a: 2026-13-45", "cannot be read: month must be in 1..12"),
        ("a: [" + "1," * 200_000 + "]", "expected at most 100,000 values"),
        ("a: '" + "x" * 2**23 + "'", "expected at most 4 MiB, got 8 MiB"),
        ("a: \0", "cannot be read"),
        ("[1]: 2", "cannot be read"),
    ],
)
def test_yaml_that_is_made_to_do_harm_is_refused_in_one_line(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "oven.yaml"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert told in str(caught.value)
    assert len(str(caught.value).removeprefix(str(path))) < 300


def test_yaml_of_usual_kinds_with_a_few_aliases_is_read(tmp_path: Path) -> None:
    path = tmp_path / "oven.yaml"
    path.write_text("base: &base [1, 2.5, true, null, no one]\nagain: *base\n")
    assert read_yaml(path) == {"base": [1, 2.5, True, None, "no one"], "again": [1, 2.5, True, None, "no one"]}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a": 1, "a": 2}', "expected each key once, got 'a' twice"),
        ("9" * 5_000, "cannot be read as JSON"),
        (b"\xff\xfe", "cannot be read as JSON"),
    ],
)
def test_json_that_is_made_to_do_harm_is_refused_in_one_line(content: str | bytes, told: str) -> None:
    with pytest.raises(UserError, match=told):
        parse_json(content, "island.json")


@dataclass(frozen=True)
class Recipe:
    """Fields without a check of their own: their types count."""

    title: str
    minutes: tuple[float, ...] = ()
    oven: int | None = None
    covered: bool = False


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"title": 3}, "title: expected text, got 3"),
        ({"title": "pie", "minutes": "30"}, "minutes: expected list[number], got '30'"),
        ({"title": "pie", "minutes": [30, "40"]}, r"minutes: expected list[number], got [30, '40']"),
        ({"title": "pie", "oven": 1.5}, "oven: expected integer or None, got 1.5"),
        ({"title": "pie", "oven": True}, "oven: expected integer or None, got True"),
        ({"title": "pie", "covered": 1}, "covered: expected true or false, got 1"),
        ({}, "expected the key 'title', got none"),
    ],
)
def test_a_value_of_another_type_is_told(values: dict[str, object], told: str) -> None:
    with pytest.raises(UserError) as caught:
        read(Recipe, values, "recipe")
    assert str(caught.value) == f"recipe: {told}"


def test_integers_stand_for_numbers_and_lists_for_tuples() -> None:
    assert read(Recipe, {"title": "pie", "minutes": [30, 2.5]}, "recipe") == Recipe("pie", (30, 2.5))
