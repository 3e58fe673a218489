"""What a command prints: plain lines in pipes and logs; tables and colour on a terminal. Runs on the driver."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from menndl_dask.text import TextTable, duration, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# label of a line, such as "report:"; what is wrong; what to look at
_HIGHLIGHTS = (
    (r"(?m)^ *[a-z][\w. ]{0,20}:(?= )", "bold"),
    (r"(?m)^WRONG:|NOT HEARD OF", "bold red"),
    (r"(?m)^  ! ", "yellow"),
)
_BAR = 20  # characters


def say(*pieces: str | TextTable, stream: TextIO | None = None, style: str = "") -> None:
    """Print texts and tables with an empty line between them, by default to the standard output.

    `style` is that of texts on a terminal, such as ``red``; see `rich.style`. Characters that control a terminal are
    shown as ``�``, wherever they came from.
    """
    stream = sys.stdout if stream is None else stream
    if not stream.isatty():
        stream.write(printable("\n\n".join(map(str, pieces))) + "\n")
    else:
        from rich.text import Text

        console = terminal(stream)
        for number, piece in enumerate(pieces):
            console.print("\n" * (number > 0), end="")
            if isinstance(piece, TextTable):
                if piece.title:
                    console.print(Text(printable(piece.title), "bold"), soft_wrap=True)
                console.print(_table(piece))
                console.print(piece.more, end="\n" * bool(piece.more))
                continue
            text = Text(printable(piece), style)
            for pattern, marked in _HIGHLIGHTS:
                text.highlight_regex(pattern, marked)
            console.print(text, soft_wrap=True)
    stream.flush()


def styled(stream: TextIO, line: str, bar: str, styles: Sequence[tuple[str, str]]) -> str:
    """Return a line for a terminal, cut to its width and with a bar in front of it if there is room.

    `styles` are regular expressions and the styles of what they match in the line.
    """
    from rich.text import Text

    console = terminal(stream)
    width = shutil.get_terminal_size().columns - 1
    text = Text(printable(line, one_line=True))
    for pattern, style in styles:
        text.highlight_regex(pattern, style)
    if bar and len(line) + len(bar) < width:
        text = Text.assemble((bar, "cyan"), " ", text)
    text.truncate(width, overflow="ellipsis")
    with console.capture() as captured:
        console.print(text, end="", soft_wrap=True)
    return captured.get()


def share_bar(share: float) -> str:
    """Return a share as a bar.

    >>> share_bar(0.25)
    '━━━━━╺──────────────'
    """
    filled = min(_BAR, int(_BAR * share))
    return "━" * filled + ("╺" + "─" * (_BAR - filled - 1) if filled < _BAR else "")


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on the standard error if that is a terminal; yield what is called with the bytes done and in all."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal(sys.stderr), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def block_line(stream: TextIO, interval_s: float = 30.0) -> Iterator[Callable[[int, int], None]]:
    """Show how many blocks of images are done, and the time left: one updating line on a terminal, else now and then.

    Yields what is called with the number of blocks that are done and in all.
    """
    is_live, began = stream.isatty(), time.monotonic()
    shown_at = began

    def show(done: int, total: int) -> None:
        nonlocal shown_at
        now = time.monotonic()
        if now - shown_at < (0.2 if is_live else interval_s) and not (is_live and done == total):
            return
        shown_at = now
        left = duration((now - began) / done * (total - done))
        rate = 3600.0 * done / max(now - began, 1e-3)
        line = f"menndl prediction: {done}/{total} blocks · {rate:.0f} blocks/h · {left} left"
        stream.write(f"\r{styled(stream, line, share_bar(done / total), ())}\x1b[K" if is_live else f"{line}\n")
        stream.flush()

    try:
        yield show
    finally:
        if is_live and shown_at != began:
            stream.write("\n")


def terminal(stream: TextIO) -> Console:
    """Return rich's console for a stream; it obeys ``NO_COLOR`` and ``TERM``."""
    from rich.console import Console  # only where there is a terminal: its import takes a tenth of a second

    return Console(file=stream, highlight=False, emoji=False, markup=False)


def _table(piece: TextTable) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    # where the window is narrow, headings and words wrap, and numbers stay whole
    width = sum(max(map(len, column)) + 3 for column in zip(piece.head, *piece.shown, strict=True))
    gap = 1 if width <= shutil.get_terminal_size().columns else 0
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, gap), pad_edge=False)
    for column, heading in enumerate(piece.head):
        is_text = column in piece.left
        name = Text(printable(heading) if gap else printable(heading).replace(" ", "\n"))
        table.add_column(name, justify="left" if is_text else "right", overflow="fold", no_wrap=not is_text)
    for row in piece.shown:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table
