"""What commands print: plain in pipes and logs; tables and colour on a terminal."""

from __future__ import annotations

import io

import pytest

from menndl_dask.terminal import say
from menndl_dask.text import TextTable

TABLE = TextTable(["network", "r2"], [["network [7]", "0.5"], ["U-Net", "0.25"]], title="Trained alike:")


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")


def test_a_pipe_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    say("report: runs/mine/report.html", TABLE)
    assert capsys.readouterr().out == (
        "report: runs/mine/report.html\n\n"
        "Trained alike:\n  network        r2\n  network [7]   0.5\n  U-Net        0.25\n"
    )


def test_a_terminal_gets_colour_and_a_table() -> None:
    stream = Terminal()
    say("report: runs/mine/report.html", TABLE, stream=stream)
    shown = stream.getvalue()
    assert "\x1b[1mreport:\x1b[0m runs/mine/report.html" in shown
    assert "───" in shown
    assert "network [7]" in shown


def test_a_long_line_is_left_to_the_terminal_to_wrap() -> None:
    stream = Terminal()
    path = "/a/long/path" * 10
    say(f"written to {path}", stream=stream, style="red")
    assert path in stream.getvalue()


def test_no_color_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    say("menndl: no such file", stream=stream, style="red")
    assert "\x1b[31m" not in stream.getvalue()


def test_of_many_rows_only_the_first_are_shown() -> None:
    table = TextTable(["class"], [["a"], ["b"], ["c"]], most=2)
    assert str(table) == "class\na\nb\n… and 1 more"
    stream = Terminal()
    say(table, stream=stream)
    assert "… and 1 more" in stream.getvalue()
    assert " c " not in stream.getvalue()
