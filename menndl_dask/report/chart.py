"""Charts as inline SVG. Pure.

Colours and fonts are CSS classes of the page, so that a chart has a light and a dark theme. The ``<title>`` of a mark
is its tooltip, with or without JavaScript.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape

from menndl_dask.text import quantity

_LEFT, _TOP, _BOTTOM = 58, 14, 46  # margins, pixels
WIDE = (820, 290)  # of a figure of full width, pixels; it scales with the page
_CHARACTER = 6.4  # width of a character of the charts' 12-pixel type, pixels
_LABEL_HEIGHT = 15


@dataclass(frozen=True, slots=True)
class Scale:
    """Map values to pixels: `low` to `start` and `high` to `end`; on a `whole` scale ticks are whole numbers."""

    low: float
    high: float
    start: float = 0.0
    end: float = 1.0
    log: bool = False
    whole: bool = False

    @classmethod
    def around(cls, values: Iterable[float], *, log: bool = False, margin: float = 0.06) -> Scale:
        """Return a scale with a margin around all values; 0 to 1 if there are none."""
        kept = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
        if not kept:
            return cls(1.0, 10.0, log=True) if log else cls(0.0, 1.0)
        low, high = min(kept), max(kept)
        if log:
            room = (high / low) ** margin if high / low > 1.5 else 1.5
            return cls(low / room, high * room, log=True)
        room = margin * (high - low) or margin * (abs(high) or 1.0)
        return cls(low - room, high + room)

    def over(self, start: float, end: float) -> Scale:
        """Return the scale with these positions of its ends, pixels."""
        return replace(self, start=start, end=end)

    def __call__(self, value: float) -> float:
        """Return the position of a value, clipped to the ends."""
        if self.log:
            share = math.log(max(value, 1e-300) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def holds(self, value: float) -> bool:
        """Whether a value is within the ends."""
        return self.low <= value <= self.high

    def ticks(self, count: int = 5) -> list[float]:
        """Return about `count` round values within the ends."""
        if self.log and self.high / self.low >= 8:
            return _log_ticks(self.low, self.high, count)
        step = _round_step((self.high - self.low) / max(count, 1))
        step = max(step, 1.0) if self.whole else step
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        decimals = max(0, 3 - math.floor(math.log10(step)))
        return [round(i * step, decimals) for i in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class Mark:
    """A point of a chart, with its tooltip.

    Its CSS class is ``dot``, ``front``, ``knee``, ``standard`` or ``faint``. A click leads to `link`.
    """

    x: float
    y: float
    tip: str = ""
    style: str = "dot"
    link: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a chart, drawn in steps if `step`, labelled in the right margin.

    Its CSS class (`style`) is ``best``, ``front``, ``train`` or ``validation``.
    """

    points: Sequence[tuple[float, float]]
    style: str
    label: str = ""
    step: bool = False


@dataclass(frozen=True, slots=True)
class Level:
    """A horizontal reference line, labelled in the right margin."""

    value: float
    style: str
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with two axes."""

    label: str  # one sentence on what the chart shows, for screen readers
    x: Scale  # the positions of both scales are ignored
    y: Scale
    x_title: str  # with units
    y_title: str
    marks: Sequence[Mark] = ()
    lines: Sequence[Line] = ()  # drawn above marks
    levels: Sequence[Level] = ()
    # evaluations without a fitness, drawn under the axis: position along x, tooltip, and whether it was stopped early
    ticks: Sequence[tuple[float, str, bool]] = ()
    size: tuple[int, int] = WIDE  # pixels
    margin: int = 16  # width of the right margin, pixels

    def svg(self) -> str:
        """Return the chart as an ``<svg>`` element."""
        x, y = self.scales()
        parts = [
            *(
                f'<path class="level {level.style}" d="M{x.start:.1f} {y(level.value):.1f}H{x.end:.1f}"/>'
                for level in self.levels
                if y.holds(level.value)
            ),
            *(_dot(mark, x, y) for mark in self.marks),
            *(_path(line, x, y) for line in self.lines),
            *(
                f'<path class="failure{" stopped" if stopped else ""}" d="M{x(value):.1f} {y.start + 2:.1f}v9">'
                f"<title>{escape(tip)}</title></path>"
                for value, tip, stopped in self.ticks
            ),
            self._labels(x, y),
        ]
        return self.with_content(self.label, "".join(parts))

    def scales(self) -> tuple[Scale, Scale]:
        """Return both scales with their positions in the chart, pixels."""
        width, height = self.size
        y = self.y.over(height - _BOTTOM - (12 if self.ticks else 0), _TOP)
        longest = max((text_width(_number(v, y)) for v in y.ticks(4)), default=0.0)
        return self.x.over(max(_LEFT, longest + 32), width - self.margin), y

    def with_content(self, label: str, content: str) -> str:
        """Return an ``<svg>`` element with the axes and what was drawn on its `scales`."""
        width, height = self.size
        style = "chart wide" if width == WIDE[0] else "chart"
        return element(label, width, height, self._axes(*self.scales()) + content, style)

    def _axes(self, x: Scale, y: Scale) -> str:
        height = self.size[1]
        grid = "".join(
            f'<path class="grid" d="M{x.start:.1f} {y(v):.1f}H{x.end:.1f}"/>'
            f'<text class="tick" x="{x.start - 8:.1f}" y="{y(v) + 4:.1f}" text-anchor="end">{_number(v, y)}</text>'
            for v in y.ticks(4)
        )
        below = height - _BOTTOM + 16
        count = max(2, min(9, int((x.end - x.start) / 80)))
        marks = "".join(
            f'<text class="tick" x="{x(v):.1f}" y="{below}" text-anchor="middle">{_number(v, x)}</text>'
            for v in x.ticks(count)
        )
        base = f'<path class="axis" d="M{x.start:.1f} {y.start:.1f}H{x.end:.1f}"/>'
        middle = (x.start + x.end) / 2
        titles = (
            f'<text class="title" x="{middle:.0f}" y="{height - 8}" text-anchor="middle">{escape(self.x_title)}</text>'
            f'<text class="title" transform="translate(13 {(y.start + y.end) / 2:.0f}) rotate(-90)"'
            f' text-anchor="middle">{escape(self.y_title)}</text>'
        )
        return grid + base + marks + titles

    def _labels(self, x: Scale, y: Scale) -> str:
        wanted = [(y(lv.value), lv.style, lv.label) for lv in self.levels if lv.label and self.y.holds(lv.value)]
        wanted += [(y(ln.points[-1][1]), ln.style, ln.label) for ln in self.lines if ln.label and ln.points]
        placed = spread_out([at for at, _, _ in wanted], _LABEL_HEIGHT, y.end, y.start)
        return "".join(
            f'<text class="label {style}" x="{x.end + 8:.1f}" y="{at + 4:.1f}">{escape(text)}</text>'
            for at, (_, style, text) in zip(placed, wanted, strict=True)
        )


def element(label: str, width: float, height: float, content: str, style: str = "chart") -> str:
    """Return an ``<svg>`` element that scales with the page and has an accessible label."""
    return (
        f'<svg class="{style}" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
        f' style="--w:{width:.0f}px" role="img" aria-label="{escape(label)}">{content}</svg>'
    )


def spread_out(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return positions near the wanted ones, with a gap between them, below `high` if possible.

    >>> spread_out([10, 11, 50], 5, 0, 100)
    [10, 15, 50]
    >>> spread_out([99, 100], 5, 0, 100)
    [95, 100]
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = list(wanted)
    previous = low - gap
    for i in order:
        placed[i] = previous = max(wanted[i], previous + gap)
    following = high + gap
    for i in reversed(order):
        placed[i] = following = min(placed[i], following - gap)
    return placed


def text_width(text: str) -> float:
    """Return the approximate width of a text, pixels."""
    return _CHARACTER * len(text)


def _dot(mark: Mark, x: Scale, y: Scale) -> str:
    drawn = _symbol(mark, x, y)
    return f'<a href="#{escape(mark.link)}">{drawn}</a>' if mark.link else drawn


def _symbol(mark: Mark, x: Scale, y: Scale) -> str:
    at_x, at_y = x(mark.x), y(mark.y)
    tip = f"<title>{escape(mark.tip)}</title>" if mark.tip else ""
    if mark.style == "standard":
        d = f"M{at_x:.1f} {at_y - 6:.1f}l6 6l-6 6l-6 -6z"
        return f'<path class="dot standard" d="{d}">{tip}</path>'
    if not y.holds(mark.y):
        # out of range: an arrow at the edge; the value is in the tooltip
        down = 1 if mark.y < y.low else -1
        d = f"M{at_x:.1f} {at_y + down:.1f}l-3.5 {-6 * down}h7z"
        return f'<path class="dot {mark.style}" d="{d}">{tip}</path>'
    radius = {"front": 4.5, "knee": 6.0}.get(mark.style, 3.2)
    return f'<circle class="dot {mark.style}" cx="{at_x:.1f}" cy="{at_y:.1f}" r="{radius}">{tip}</circle>'


def _path(line: Line, x: Scale, y: Scale) -> str:
    places = [(f"{x(value):.1f}", f"{y(height):.1f}") for value, height in line.points]
    first = "".join(f"M{across} {down}" for across, down in places[:1])
    rest = "".join(f"H{across}V{down}" if line.step else f"L{across} {down}" for across, down in places[1:])
    return f'<path class="line {line.style}" d="{first}{rest}"/>' if places else ""


def _number(value: float, scale: Scale) -> str:
    if scale.log or max(abs(scale.low), abs(scale.high)) >= 1e4:
        return quantity(value)
    step = 1.0 if scale.whole else _round_step((scale.high - scale.low) / 4)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) if step < 1 else 0
    return f"{value:.{decimals}f}".replace("-", "−")


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(max(rough, 1e-300)))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.75)


def _log_ticks(low: float, high: float, count: int) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [m * 10.0**p for p in powers for m in (1, 2, 5) if low <= m * 10.0**p <= high]
    tens = [10.0**p for p in powers if low <= 10.0**p <= high]
    if len(every) <= count + 1 or len(tens) < 2:
        return every[:: max(1, math.ceil(len(every) / (count + 1)))]
    return tens[:: max(1, math.ceil(len(tens) / (count + 1)))]
