"""The model card: what it says of a run's network, and where each number is from."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from menndl_dask.genome.individual import Individual
from menndl_dask.report.headline import headline
from menndl_dask.report.model_card import write_model_card
from menndl_dask.report.report import write_report
from menndl_dask.result import Result
from menndl_dask.run.recorder import STANDARD_ID, Compared
from menndl_dask.run.run import Run
from menndl_dask.space.standard.standard import named_network, standard_network
from tests.problems import problem
from tests.runs import finished, made_up

OF = problem("segmentation", ((32, 32, 1),))
METRICS = {"mean_iou": 0.7, "test_mean_iou": 0.65, "test_mean_iou_error": 0.01}
COSTS = {"parameters": 12345.0, "flops_forward": 2e6, "latency_ms": 3.5}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a run of which a network was trained for comparison, and again for use."""
    run = finished(tmp_path / "run", made_up(12), OF)
    individual = run.best().individual
    result = Result(0.7, metrics=METRICS, costs=COSTS, worker="tcp://here")
    compared = Compared("network 1 (budget × 4)", individual, 4.0, result)
    final = Compared("network 1", individual, 4.0, Result(0.9, metrics={**METRICS, "mean_iou": 0.9}), 7, is_final=True)
    title, genome = standard_network(OF)
    other = Compared(title, Individual(STANDARD_ID, genome, (), "standard"), 4.0, Result(0.6, metrics=METRICS))
    for number, each in enumerate((compared, other, final)):
        run.compare(each)
        each.path(run.path).parent.mkdir(parents=True, exist_ok=True)
        each.path(run.path).write_bytes(b"weights %d" % number)
    return run


def card_of(run: Run, content: bytes) -> str:
    (run.path / "best.keras").write_bytes(content)
    write_report(run)
    return (run.path / "model_card.md").read_text(encoding="utf-8")


def test_it_is_written_with_the_report_and_says_which_training_the_network_is_from(run: Run) -> None:
    card = card_of(run, b"weights 0")
    number = run.best().individual.id
    assert f"the same bytes as `networks/{number:08d}/trained-4.keras`" in card
    assert f"| mean IoU, validation split | 0.7000 | `journal.jsonl`: compared {number}, factor 4:" in card
    assert "| mean IoU, test split ± standard error | 0.6500 ± 0.01 |" in card
    assert "| the test split was looked at | 3 times, 2 of them with this architecture |" in card
    assert "| parameters | 12.3 k |" in card and "on tcp://here, maybe beside other trainings" in card
    assert "On the test split: network 1 (budget × 4) reaches mean IoU 0.6500" in card  # the sentence of the report


def test_it_begins_with_the_headline_of_the_search(run: Run) -> None:
    assert f"The search: {headline(run)}. Source:" in card_of(run, b"weights 0").partition("## ")[0]


def test_a_network_for_use_has_no_validation_score(run: Run) -> None:
    card = card_of(run, b"weights 2")
    number = run.best().individual.id
    assert f"final {number}, factor 4, seed 7" in card
    assert "| mean IoU, validation split | trained on |" in card
    assert "| trained on the splits | train and validation |" in card
    assert "0.9000" not in card  # what the network reaches on images that it was trained on


def test_a_file_that_no_training_has_left_is_called_so(run: Run) -> None:
    card = card_of(run, b"from elsewhere")
    assert "No training of the run has left this file" in card and "## Costs" not in card
    assert "| mean IoU, validation split" not in card


def test_another_network_that_was_only_measured_is_not_taken_for_the_standard_one(run: Run) -> None:
    title, genome = named_network("fcn8s", OF)
    other = Individual(STANDARD_ID, genome, (), "standard")
    measured = Compared(title, other, 4.0, Result(0.2, metrics={"test_mean_iou": 0.1}), 0)
    run.compare(measured)
    measured.path(run.path).write_bytes(b"weights 1")  # the path of the standard network with that seed
    assert "FCN" not in card_of(run, b"weights 1").partition("## Training")[0]


def test_each_number_in_its_tables_has_a_source_that_is_in_the_run(run: Run) -> None:
    card = card_of(run, b"weights 0")
    rows = re.findall(r"^\| (?!\|)(.*?) \| (.*?) \| (`(?:journal\.jsonl|run\.yaml)`: .*?) \|$", card, re.MULTILINE)
    assert len(rows) >= 15
    tables = [part for part in card.split("\n\n") if part.startswith("|  |  | source |")]
    assert sum(len(table.splitlines()) - 2 for table in tables) == len(rows)
    settings = (run.path / "run.yaml").read_text()
    events = [json.loads(line)["event"] for line in (run.path / "journal.jsonl").read_text().splitlines()]
    for _, _, source in rows:
        key = source.rpartition(".")[2].rpartition(": ")[2]
        assert (
            key in settings
            if source.startswith("`run.yaml`")
            else source.split(": ")[1].split()[0].strip(",") in events
        )


def test_without_a_network_there_is_no_card(run: Run, tmp_path: Path) -> None:
    assert write_model_card(run) is None
    write_report(run)
    assert not (run.path / "model_card.md").exists()
    (run.path / "best.keras").write_bytes(b"weights 0")
    write_report(run, tmp_path / "report.html")  # elsewhere: the run is not written to
    assert not (run.path / "model_card.md").exists()


def test_a_card_of_another_network_is_written_where_it_is_wanted(run: Run, tmp_path: Path) -> None:
    network = run.comparisons[0].path(run.path)
    path = write_model_card(run, tmp_path / "card.md", network=network, more=["## Export", "as asked"])
    assert path is not None
    text = path.read_text(encoding="utf-8")
    assert "Of `trained-4.keras`" in text and "## Export\n\nas asked" in text
