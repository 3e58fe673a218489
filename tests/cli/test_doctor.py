"""The doctor finds what is wrong with each file of a run, repairs what can be repaired, and keeps what was there."""

from __future__ import annotations

import json
import os
import re
import zipfile
from pathlib import Path

import pytest

from menndl_dask.cli.cli import main
from menndl_dask.errors import ExitCode
from menndl_dask.run.layout import folder_of
from menndl_dask.run.recorder import Recorder
from tests.runs import finished, made_up

ROOT = Path(__file__).parents[2]
PARTS = ("config.json", "metadata.json", "model.weights.h5")


def network(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for part in PARTS:
            archive.writestr(part, part * 20)


def run_with_network(folder: Path) -> Path:
    finished(folder, made_up(12))
    network(folder / "networks" / "00000011" / "network.keras")
    genome = json.dumps(next(i for i, _ in made_up(12) if i.id == 11).genome.to_dict())
    (folder / "networks" / "00000011" / "genome.json").write_text(genome)
    return folder


def doctor(capsys: pytest.CaptureFixture[str], run: Path, *words: str) -> tuple[int, str]:
    code = main(["doctor", str(run), *words])
    printed = capsys.readouterr()
    assert not printed.err, printed.err
    return code, printed.out


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_sound_run_is_all_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_with_network(tmp_path / "run")
    before = contents(run)
    code, text = doctor(capsys, run, "--repair")
    assert code == ExitCode.SUCCESS
    assert text.endswith("run: all right\n")
    assert contents(run) == before


def test_the_example_of_the_page_is_what_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = run_with_network(Path("runs/stem"))
    journal = run / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-30])
    (run / "networks" / "00000011" / "genome.json").write_text("")
    before = contents(run)
    code, text = doctor(capsys, run)
    assert code == ExitCode.PROBLEM_FOUND
    assert contents(run) == before
    page = (ROOT / "docs" / "runs.md").read_text(encoding="utf-8")
    block = re.search(r"```console\n\$ menndl doctor runs/stem\n(.*?)```", page, re.DOTALL)
    assert block is not None
    numbers = r"[\d.,]+"  # the time in a line has more or fewer digits
    assert re.sub(numbers, "N", text) == re.sub(numbers, "N", block[1])
    code, text = doctor(capsys, run, "--repair")
    assert code == ExitCode.SUCCESS
    assert "written again from the journal" in text
    assert len(list(run.rglob("*.dropped-*"))) == 2
    genome = json.loads((run / "networks" / "00000011" / "genome.json").read_text())
    assert genome == next(i for i, _ in made_up(12) if i.id == 11).genome.to_dict()
    assert doctor(capsys, run)[0] == ExitCode.SUCCESS


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def link(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path.parents[1] / "victim")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


# file, what is done to it, what is said, whether it can be repaired
DAMAGES = [
    ("journal.jsonl", flipped, "1 damaged line", True),
    ("journal.jsonl", Path.unlink, "there is none", False),
    ("journal.jsonl", link, "expected a file, got a symbolic link", False),
    ("run.yaml", Path.unlink, "restore it from a copy", False),
    ("run.yaml", lambda path: path.write_text("[unclosed"), "restore it from a copy", False),
    ("run.yaml", lambda path: path.write_text(path.read_text().replace("seed: 7", "seed: 8")), "checksum", False),
    ("networks/00000011/network.keras", half, "cannot be read", True),
    ("networks/00000011/network.keras", flipped, "damaged: model.weights.h5", True),
    ("networks/00000011/network.keras", os.mkfifo, "got a fifo", True),
    ("best.keras", lambda path: path.write_bytes(b"no archive"), "zip", True),
    ("splits.npz", link, "got a symbolic link", True),
    ("island.json", lambda path: path.write_text("{"), "cannot be read", True),
    ("stop", Path.mkdir, "expected a file, got a folder", True),
    ("anything", os.mkfifo, "got a fifo", True),
    ("networks/00000003", link, "got a symbolic link", True),
]


@pytest.mark.parametrize(("name", "damage", "said", "can_be_repaired"), DAMAGES)
def test_each_damage_is_found_and_repaired_with_a_copy_where_it_can_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, damage: object, said: str, can_be_repaired: bool
) -> None:
    (tmp_path / "victim").write_text("precious")
    run = run_with_network(tmp_path / "run")
    path = run / name
    if damage is os.mkfifo:
        path.unlink(missing_ok=True)
    damage(path)  # type: ignore[operator]
    before = contents(run)
    code, text = doctor(capsys, run)
    assert code == ExitCode.PROBLEM_FOUND
    assert re.search(rf"^WRONG: {name}: .*{said}", text, re.MULTILINE), text
    assert text.count("WRONG") == 1, text
    assert contents(run) == before
    code = main(["doctor", str(run), "--repair"])
    capsys.readouterr()
    if can_be_repaired:
        assert code == ExitCode.SUCCESS
        assert list(run.rglob(f"*{path.name}.dropped-*"))
    else:
        assert code in (ExitCode.PROBLEM_FOUND, ExitCode.USER_ERROR)
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_run_with_a_driver_is_looked_at_but_not_repaired(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_with_network(tmp_path / "run")
    half(run / "networks" / "00000011" / "network.keras")
    with Recorder(run):
        assert "a driver runs: host" in doctor(capsys, run)[1]
        assert main(["doctor", str(run), "--repair"]) == ExitCode.USER_ERROR
        assert "held by another driver" in capsys.readouterr().err
    assert not list(run.rglob("*.dropped-*"))


def test_islands_are_looked_at_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    Recorder(run).close()
    island = run_with_network(folder_of(run, 1))
    half(island / "journal.jsonl")
    code, text = doctor(capsys, run)
    assert code == ExitCode.PROBLEM_FOUND
    assert "WRONG: islands/01/journal.jsonl: " in text
    assert doctor(capsys, run, "--repair")[0] == ExitCode.SUCCESS
    assert list(island.glob("journal.jsonl.dropped-*"))


def test_what_is_no_run_is_an_error_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(tmp_path / "none")]) == ExitCode.USER_ERROR
    assert "expected a run directory, got none" in capsys.readouterr().err
