"""One reader and validator for what users write: a mistake is one line with file, key and what was expected."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from menndl_dask.errors import RunError, UserError
from menndl_dask.validation import checked, integer, number, one_of, or_none, read, read_yaml, schema, text


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
