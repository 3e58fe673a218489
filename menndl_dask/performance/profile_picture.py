"""A profile as a picture: roofline of the device with the network's layers, bars of their times. Runs on the driver.

It is SVG whose styles are attributes, so that the file opens alone in a browser and in a drawing program.
"""

from __future__ import annotations

from html import escape

from menndl_dask.performance.profile import Profile, ProfiledLayer
from menndl_dask.performance.profile_table import in_ms
from menndl_dask.report.chart import Scale
from menndl_dask.text import quantity

_WIDTH, _LEFT, _TOP, _HEIGHT = 860.0, 86.0, 58.0, 300.0  # of the picture and of the roofline in it, pixels
_ROW, _BARS = 22.0, 330.0  # height of a bar and where bars begin, pixels
_INK, _SOFT, _GRID, _BLUE, _ORANGE = "#1b1f24", "#57606a", "#d8dee4", "#0072b2", "#d55e00"
_NAMED = 3  # layers with the most time, which have their name beside them


def profile_picture(profile: Profile, title: str) -> str:
    """Return the picture of a profile as the text of an SVG file."""
    layers = [layer for layer in profile.layers if layer.seconds]
    bars = _TOP + _HEIGHT + 96
    height = bars + _ROW * len(layers) + 30
    unit = f"{profile.device}, {profile.precision}, {profile.layer_batch} samples, each layer alone, forward"
    parts = [
        f'<rect width="{_WIDTH:.0f}" height="{height:.0f}" fill="#ffffff"/>',
        _text(16, 24, title, size=15, weight=650),
        _text(16, 43, unit + ("; the machine was busy" if profile.was_busy else ""), fill=_SOFT),
        *_roofline(profile, layers),
        _text(16, bars - 16, "time of each layer", size=13, weight=650),
        *_bars(profile, layers, bars),
    ]
    size = f'viewBox="0 0 {_WIDTH:.0f} {height:.0f}" width="{_WIDTH:.0f}" height="{height:.0f}"'
    font = 'font-family="system-ui,Segoe UI,Roboto,DejaVu Sans,sans-serif"'
    label = f'role="img" aria-label="{escape(f"Roofline and times of {len(layers)} layers: {title}")}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font} {label}>{"".join(parts)}</svg>\n'


def _roofline(profile: Profile, layers: list[ProfiledLayer]) -> list[str]:
    """Return axes, roof and a point for each layer."""
    ridge = profile.peak / profile.bandwidth
    rates = [_rate(profile, layer) for layer in layers if layer.flops]
    intensities = [layer.intensity for layer in layers if layer.flops]
    x = Scale.around([*intensities, ridge / 4, ridge * 4], log=True).over(_LEFT, _WIDTH - 24)
    y = Scale.around([*rates, profile.peak * 1.3, profile.bandwidth * x.low], log=True).over(_TOP + _HEIGHT, _TOP)
    parts = []
    for value in x.ticks(7):
        parts.append(_line(x(value), _TOP, x(value), _TOP + _HEIGHT, _GRID))
        parts.append(_text(x(value), _TOP + _HEIGHT + 17, f"{value:g}", anchor="middle", fill=_SOFT))
    for value in y.ticks(5):
        parts.append(_line(_LEFT, y(value), _WIDTH - 24, y(value), _GRID))
        parts.append(_text(_LEFT - 8, y(value) + 4, quantity(value), anchor="end", fill=_SOFT))
    parts.append(_text((_LEFT + _WIDTH) / 2, _TOP + _HEIGHT + 36, "arithmetic intensity, FLOP/byte", anchor="middle"))
    turned = f"rotate(-90 18 {_TOP + _HEIGHT / 2:.0f})"
    parts.append(_text(18, _TOP + _HEIGHT / 2, "FLOP/s", anchor="middle", more=f' transform="{turned}"'))
    roof = [(x.low, profile.bandwidth * x.low), (ridge, profile.peak), (x.high, profile.peak)]
    d = "L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in roof)
    parts.append(f'<path d="M{d}" fill="none" stroke="{_INK}" stroke-width="1.8"/>')
    which = "convolution" if profile.convolution >= profile.product else "matrix product"
    reached = f"{which}: {quantity(profile.peak)} FLOP/s"
    parts.append(_text(_WIDTH - 28, y(profile.peak) - 7, reached, anchor="end", weight=600))
    parts.append(_text(_LEFT + 8, _TOP + 14, f"slope: {quantity(profile.bandwidth)} bytes/s", fill=_SOFT))
    return parts + _points(profile, layers, x, y)


def _points(profile: Profile, layers: list[ProfiledLayer], x: Scale, y: Scale) -> list[str]:
    total = sum(layer.seconds for layer in layers)
    named = sorted(layers, key=lambda layer: -layer.seconds)[:_NAMED]
    parts = []
    for number, layer in enumerate(layers, start=1):
        if not layer.flops:
            continue
        rate = _rate(profile, layer)
        radius = 3.5 + 10 * (layer.seconds / total) ** 0.5
        tip = f"{number}. {layer.title} {layer.detail}: {quantity(rate)} FLOP/s, {rate / profile.peak:.1%} of peak"
        colour = _BLUE if layer.parameters else _ORANGE
        at = f'cx="{x(layer.intensity):.1f}" cy="{y(rate):.1f}" r="{radius:.1f}"'
        parts.append(f'<circle {at} fill="{colour}" fill-opacity="0.55"><title>{escape(tip)}</title></circle>')
        if layer in named:
            parts.append(_text(x(layer.intensity), y(rate) - radius - 3, f"{number}", anchor="middle", weight=600))
    return parts


def _bars(profile: Profile, layers: list[ProfiledLayer], top: float) -> list[str]:
    """Return a row for each layer: number, name, settings, bar of its time, milliseconds and share of the peak."""
    longest = max((layer.seconds for layer in layers), default=1.0)
    parts = []
    for number, layer in enumerate(layers, start=1):
        middle = top + _ROW * (number - 0.5) + 4
        width = max(1.0, (_WIDTH - _BARS - 190) * layer.seconds / longest)
        colour = _BLUE if layer.parameters else _ORANGE
        bar = f'x="{_BARS:.0f}" y="{middle - 11:.1f}" width="{width:.1f}" height="14" rx="2"'
        detail = layer.detail if len(layer.detail) <= 30 else layer.detail[:29] + "…"
        share = f"{_rate(profile, layer) / profile.peak:.1%} of peak" if layer.flops else "no FLOPs"
        parts += [
            _text(34, middle, f"{number}", anchor="end", fill=_SOFT),
            _text(42, middle, layer.title, weight=600),
            _text(158, middle, detail, size=11, fill=_SOFT),
            f'<rect {bar} fill="{colour}" fill-opacity="0.75"/>',
            _text(_BARS + width + 6, middle, f"{in_ms(layer.seconds)} ms, {share}", size=11, fill=_SOFT),
        ]
    legend = "blue: layers with weights; orange: without. A point's area grows with its time."
    return [*parts, _text(16, top + _ROW * len(layers) + 20, legend, size=11, fill=_SOFT)]


def _rate(profile: Profile, layer: ProfiledLayer) -> float:
    return profile.layer_batch * layer.flops / layer.seconds


def _text(
    x: float, y: float, text: str, *, size: int = 12, fill: str = _INK, anchor: str = "start", weight: int = 400,
    more: str = "",
) -> str:  # fmt: skip
    style = f'font-size="{size}" font-weight="{weight}" fill="{fill}" text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}{more}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{colour}"/>'
