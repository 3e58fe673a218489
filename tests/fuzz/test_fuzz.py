"""A few damaged inputs of each kind: `make fuzz` tries many more, `python -m tests.fuzz.campaign` thousands."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.campaign import prepare, run_command, run_input, without_workers
from tests.fuzz.inputs import KINDS

FEW = settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "3")))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder, before = tmp_path_factory.mktemp("fuzz"), Path.cwd()
    with pytest.MonkeyPatch.context() as patched, without_workers():
        patched.setenv("XDG_STATE_HOME", str(folder / "state"))
        yield folder
    os.chdir(before)


# of campaigns: those that do not depend on the options that a command has, and command lines
WRONG_ONCE = {
    "a list of a million million GPUs": ("profiles", 23605),
    "10 s for a report on ten damaged lines": ("journals", 21308),
}
LONG = "x" * 5000
WRONG_COMMANDS = {
    "a name that is too long": (["doctor", LONG], ["export", LONG], ["profile", LONG]),
    "a folder in place of a file": (["report", "run", "--output", "."], ["watch", "best.keras", "."]),
    "Keras was imported": (["check", "data.zarr", "--no-trial", "--metric", "acuracy"],),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", WRONG_ONCE)
def test_an_input_that_was_wrong_once_is_accepted_or_refused_in_one_line(place: Path, what: str) -> None:
    name, number = WRONG_ONCE[what]
    found = run_input(KINDS[name], number, prepare(KINDS[name], place), place)
    assert found["outcome"] in ("refused", "accepted"), found


@pytest.mark.parametrize("what", WRONG_COMMANDS)
def test_a_command_that_was_wrong_once_is_refused_in_one_line(
    place: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(prepare(KINDS["command lines"], place))
    monkeypatch.setattr("menndl_dask.data.keras_names._ask", None)
    for command in WRONG_COMMANDS[what]:
        found = run_command(command)
        assert found["outcome"] == "refused", found


@pytest.mark.filterwarnings("ignore")  # of libraries, about damaged files
@pytest.mark.parametrize("name", KINDS)
@FEW
@given(number=st.integers(0, 2**62))
def test_a_damaged_input_is_accepted_or_refused_in_one_line(place: Path, name: str, number: int) -> None:
    template = prepare(KINDS[name], place)
    found = run_input(KINDS[name], number, template, place)
    assert found["outcome"] in ("refused", "accepted"), found
