"""Text for people: counts, sizes, durations, fitness values and aligned tables. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from textwrap import indent

_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BINARY = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))
MISSING = "–"  # in place of a value that is not known
# control characters but tab and newline, marks that change the direction of text or cannot be seen, surrogates
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table of text; `str` returns it as aligned plain text.

    >>> print(TextTable(["class", "pixels"], [["wall", "7"], ["background", "12,345"]]))
    class       pixels
    wall             7
    background  12,345
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: Collection[int] = (0,)  # numbers of the columns that are aligned to the left; the others are to the right
    title: str = ""  # line above the table, which is then indented
    most: int | None = None  # maximum number of rows to show

    @property
    def shown(self) -> Sequence[Sequence[str]]:
        """The rows that are shown."""
        return self.rows[: self.most]

    @property
    def more(self) -> str:
        """How many more rows there are, in words; empty if all are shown."""
        left_out = len(self.rows) - len(self.shown)
        return f"… and {left_out} more" if left_out else ""

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.head, *self.shown, strict=True)]
        sides = ["<" if column in self.left else ">" for column in range(len(self.head))]
        rows = (zip(row, sides, widths, strict=True) for row in (self.head, *self.shown))
        lines = ["  ".join(f"{cell:{side}{width}}" for cell, side, width in row).rstrip() for row in rows]
        text = "\n".join([*lines, self.more] if self.more else lines)
        return f"{self.title}\n{indent(text, '  ')}" if self.title else text


def html_summary(title: str, rows: Iterable[tuple[str, str]], more: str = "") -> str:
    """Return a title and a small table of names and values as HTML, for a notebook; `more` is HTML below it.

    It has the colours of the page around it, so that it can be read on a light and on a dark one.

    >>> html_summary("Run", [("best", "<0.9>")])[-52:]
    'text-align:left">&lt;0.9&gt;</td></tr></table></div>'
    """
    cells = "".join(
        f'<tr><th style="text-align:left;padding-right:1em">{escape(printable(name, one_line=True))}</th>'
        f'<td style="text-align:left">{escape(printable(value, one_line=True))}</td></tr>'
        for name, value in rows
    )
    frame = "border-left:3px solid #8886;padding:2px 0 2px 10px"
    return f'<div style="{frame}"><b>{escape(title)}</b><table style="margin:4px 0">{cells}</table>{more}</div>'


def printable(text: str, *, one_line: bool = False) -> str:
    r"""Return a text from a file, a worker or a user's function in a form that is safe to show on a terminal or a page.

    Characters that control a terminal, change the direction of text or cannot be seen become ``�``. If `one_line`,
    newlines and tabs become spaces.

    >>> printable("\x1b]0;title\x07 Zürich 東京"), printable("two\nlines", one_line=True)
    ('�]0;title� Zürich 東京', 'two lines')
    """
    text = _UNPRINTABLE.sub("\ufffd", text)
    return " ".join(text.splitlines()).replace("\t", " ") if one_line else text


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "worker"), counted(1200, "evaluation")
    ('1 worker', '1,200 evaluations')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def stopped_by(end: KeyboardInterrupt) -> str:
    """Return in words what has stopped a program: a signal that is named in the interrupt, else Ctrl-C.

    >>> stopped_by(KeyboardInterrupt("SIGTERM")), stopped_by(KeyboardInterrupt())
    ('stopped by SIGTERM', 'stopped by Ctrl-C')
    """
    return f"stopped by {end.args[0] if end.args else 'Ctrl-C'}"


def error_name(metric: str) -> str:
    """Return the name of a metric's standard error.

    >>> error_name("test_r2")
    'test_r2_error'
    """
    return f"{metric}_error"


def metric_title(name: str) -> str:
    """Return a metric's name for people.

    >>> metric_title("mean_iou"), metric_title("balanced_accuracy")
    ('mean IoU', 'balanced accuracy')
    """
    known = {"mean_iou": "mean IoU", "r2": "R²", "mean_dice": "mean Dice", "roc_auc": "ROC AUC"}
    return known.get(name, name.rpartition(":")[2].replace("_", " "))


def fitness_text(value: float | None) -> str:
    """Write a fitness with four decimals, so that columns align; a dash for None.

    >>> fitness_text(0.5), fitness_text(None), fitness_text(-12345.678)
    ('0.5000', '–', '-1.235e+04')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:.3e}"


def with_error(metrics: Mapping[str, float], name: str) -> str:
    """Write a metric, with its standard error if that is known.

    >>> with_error({"test_r2": 0.5, "test_r2_error": 0.0123}, "test_r2"), with_error({"test_r2": 0.5}, "test_r2")
    ('0.5000 ± 0.012', '0.5000')
    """
    error = metrics.get(error_name(name))  # 0: too few samples to estimate it
    return fitness_text(metrics.get(name)) + (f" ± {error:.2g}" if error else "")


def with_spread(value: float, spread: float | None = None) -> str:
    """Write a value with its standard error or deviation of two digits, and no more digits than that leaves certain.

    >>> with_spread(0.66523, 0.0302), with_spread(0.9752, 0.00049), with_spread(0.5), with_spread(1234.5, 21.3)
    ('0.665 ± 0.030', '0.97520 ± 0.00049', '0.5000', '1234 ± 21')
    """
    if not spread or not math.isfinite(spread):
        return fitness_text(value)
    digits = max(0, 1 - math.floor(math.log10(spread)))
    return f"{value:.{digits}f} ± {spread:.{digits}f}"


def quantity(value: float) -> str:
    """Write a count with three digits and a prefix.

    >>> quantity(12345), quantity(7), quantity(3.2e9), quantity(999_999)
    ('12.3 k', '7', '3.20 G', '1.00 M')
    """
    for scale, prefix in _PREFIXES:
        if abs(value) >= scale * 0.9995:
            return f"{_three_digits(value / scale)} {prefix}"
    return f"{value:.3g}"


def flops_rate(value: float) -> str:
    """Write floating-point operations in a second.

    >>> flops_rate(1.672e17), flops_rate(12.0)
    ('167 PFLOP/s', '12 FLOP/s')
    """
    text = quantity(value)
    return f"{text}FLOP/s" if text[-1].isalpha() else f"{text} FLOP/s"


def size(value: float) -> str:
    """Write a number of bytes.

    >>> size(3 * 2**20)
    '3.00 MiB'
    """
    for scale, unit in _BINARY:
        if value >= scale:
            return f"{_three_digits(value / scale)} {unit}"
    return f"{value:.0f} B"


def duration(seconds: float) -> str:
    """Write a duration in the two largest units that matter.

    >>> duration(7.25), duration(95), duration(7260), duration(200_000)
    ('7.2 s', '1 min 35 s', '2 h 1 min', '2 d 7 h')
    """
    if not math.isfinite(seconds):
        return MISSING
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    for large, small, names in ((86400, 3600, "d h"), (3600, 60, "h min"), (60, 1, "min s")):
        if whole >= large:
            first, second = names.split()
            rest = whole % large // small
            return f"{whole // large} {first}" + (f" {rest} {second}" if rest else "")
    return f"{whole} s"


def milliseconds(value: float) -> str:
    """Write a latency.

    >>> milliseconds(0.1234)
    '0.123 ms'
    """
    return f"{value:.3g} ms"


def _three_digits(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"
