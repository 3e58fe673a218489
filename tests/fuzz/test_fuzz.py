"""A few damaged inputs of each kind: `make fuzz` tries many more, `python -m tests.fuzz.campaign` thousands."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.campaign import prepare, run_input, without_workers
from tests.fuzz.inputs import KINDS

FEW = settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "3")))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder, before = tmp_path_factory.mktemp("fuzz"), Path.cwd()
    with pytest.MonkeyPatch.context() as patched, without_workers():
        patched.setenv("XDG_STATE_HOME", str(folder / "state"))
        yield folder
    os.chdir(before)


@pytest.mark.filterwarnings("ignore")  # of libraries, about damaged files
@pytest.mark.parametrize("name", KINDS)
@FEW
@given(number=st.integers(0, 2**62))
def test_a_damaged_input_is_accepted_or_refused_in_one_line(place: Path, name: str, number: int) -> None:
    template = prepare(KINDS[name], place)
    found = run_input(KINDS[name], number, template, place)
    assert found["outcome"] in ("refused", "accepted"), found
