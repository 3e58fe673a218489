"""The table of trainings carries on where it was stopped, and its evaluation can be read from it alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import image_space, trained_networks
from tests import stores

pytestmark = pytest.mark.trainings


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a table of a search of each kind, after an interruption."""
    folder = tmp_path_factory.mktemp("trained")
    data = stores.write(stores.classification(300), folder / "shapes.zarr")
    words = [str(data), "--table", str(folder / "table.jsonl.gz"), "--searches", "1", "--epochs", "1"]
    trained_networks.main([*words, "--networks", "1"])
    trained_networks.main([*words, "--networks", "2", "--again", "1", "--seeds", "1000"])
    return folder / "table.jsonl.gz"


def test_a_table_carries_on_and_has_each_training_once(table: Path) -> None:
    head, *rows = trained_networks.read_lines(table)
    assert head["problem"]["data"] == "shapes.zarr"
    done = [(row["search"], row["number"], row["seed"], row["longer"]) for row in rows]
    once = [("evolution 0", 0), ("random 0", 0), ("evolution 0", 1), ("random 0", 1)]
    assert [each[:2] for each in done[:4]] == once
    assert sorted(each[2:] for each in done[4:]) == [(1000, 1.0), (1000, 4.0)]
    for row in rows:
        assert row["looks"][-1][1] == pytest.approx(row["fitness"], abs=1e-4)
        assert len(row["looks"][0]) == 3 + 2 * len(trained_networks.DECAYS)
        assert [len(splits) for splits in row["by_group"]] == [2] * (1 + len(trained_networks.DECAYS))


def test_a_table_that_a_kill_has_cut_short_is_read_up_to_there(table: Path, tmp_path: Path) -> None:
    whole = list(trained_networks.read_lines(table))
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(table.read_bytes()[:-20])
    assert list(trained_networks.read_lines(cut)) == whole[:-1]


def test_the_tables_of_a_few_trainings_are_printed(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--searches", "2", "--evaluations", "3", "--optimizers", "random search", "Evolution"]
    image_space.main([str(table), *words])
    printed = capsys.readouterr().out
    assert "| evolution 0 | 2 |" in printed
    assert "| loss of a scene, at most 1 | averaged, 0.98 |" in printed
    assert printed.count("| Evolution |") == 1
