"""What commands print: plain in pipes and logs; tables and colour on a terminal."""

from __future__ import annotations

import io
import re

import pytest

from menndl_dask.terminal import block_line, say, styled
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


def test_a_table_fits_a_narrow_window_without_cutting_a_number() -> None:
    head = ["network", "accuracy", "parameters", "test accuracy"]
    stream = Terminal()
    say(TextTable(head, [["ResNet, small (budget × 4)", "0.5000", "19.9 k", "0.5000 ± 0.21"]]), stream=stream)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()).splitlines()
    assert max(map(len, lines)) <= 40
    assert any("0.5000     19.9 k 0.5000 ± 0.21" in line for line in lines)
    assert all(word in stream.getvalue() for word in ("ResNet", "parameters", "accuracy"))


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


_HARMFUL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe\r\x08\x7f"


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_what_a_file_says_cannot_control_the_terminal(kind: type[io.StringIO]) -> None:
    stream = kind()
    table = TextTable(["class" + _HARMFUL], [["wall" + _HARMFUL]], title="Zürich 東京" + _HARMFUL)
    say("class: " + _HARMFUL, table, stream=stream)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())  # the colours of rich
    assert not set(shown) & set("\x1b\x07\x9b\u202e\r\x08\x7f")
    assert "Zürich 東京" in shown
    assert "�]0;owned" in shown


def test_blocks_that_are_done_are_shown_on_a_terminal_and_now_and_then_in_a_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    first = "menndl prediction: 1/4 blocks · 116 blocks/h · 1 min 33 s left"
    for stream, expected in (
        (
            Terminal(),
            f"\r{first}\x1b[K\r{'━' * 20} menndl prediction: 4/4 blocks · 462 blocks/h · 0.0 s left\x1b[K\n",
        ),
        (io.StringIO(), f"{first}\n"),
    ):
        clock = iter([100.0, 131.0, 131.1, 131.2])
        monkeypatch.setattr("menndl_dask.terminal.time.monotonic", lambda clock=clock: next(clock))
        with block_line(stream) as show:
            show(1, 4)
            show(2, 4)
            show(4, 4)
        assert stream.getvalue() == expected


def test_the_line_of_progress_cannot_control_the_terminal() -> None:
    stream = Terminal()
    assert "\u202e" not in (line := styled(stream, "failed: " + _HARMFUL, "", []))
    assert "\x1b" not in line
    assert "\n" not in styled(stream, "two\nlines", "", [])
