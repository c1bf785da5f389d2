"""Small SVG drawings; their colours are in the style sheet, which has a light and a dark scheme."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

SPAN_WIDTH, SPAN_HEIGHT, EDGE = 160, 18, 5
WIDTH, HEIGHT = 300, 150
LEFT, RIGHT, TOP, BOTTOM = 34, 6, 8, 18
Line = tuple[str, Sequence[tuple[float, float]]]  # classes of the style sheet, and points: epoch from 1, value


def span(value: float, low: float, high: float, scale: tuple[float, float], mark: float | None = None) -> Markup:
    """Draw a value with its interval, cut off at the ends of the scale.

    Args:
        value: NaN: nothing is drawn.
        low, high: interval; NaN: there is none.
        scale: ends of the axis.
        mark: position of a dashed line: chance, or no difference.
    """
    if math.isnan(value):
        return Markup("")
    first, last = scale

    def x(number: float) -> str:
        inside = min(max((number - first) / (last - first), 0), 1)
        return f"{EDGE + inside * (SPAN_WIDTH - 2 * EDGE):.1f}"

    middle = SPAN_HEIGHT / 2
    parts = [_line("axis", EDGE, middle, SPAN_WIDTH - EDGE, middle)]
    if mark is not None:
        parts.append(_line("mark", x(mark), 1, x(mark), SPAN_HEIGHT - 1))
    if not math.isnan(low):
        parts.append(_line("interval", x(low), middle, x(high), middle))
    parts.append(Markup('<circle class="dot" cx="{}" cy="{}" r="4"/>').format(x(value), middle))
    return _svg("span", SPAN_WIDTH, SPAN_HEIGHT, Markup('aria-hidden="true"'), parts)  # it repeats the text beside it


def chart(label: str, lines: Sequence[Line], epochs: int, scale: tuple[float, float]) -> Markup:
    """Draw lines over epochs.

    Args:
        label: description for screen readers.
        lines: to draw.
        epochs: end of the axis.
        scale: ends of the axis of values.
    """
    first, last = scale

    def at(epoch: float, value: float) -> tuple[float, float]:
        across = (epoch - 1) / max(epochs - 1, 1)
        up = min(max((value - first) / (last - first), 0), 1)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = []
    for tick in (first, (first + last) / 2, last):
        _, y = at(1, tick)
        parts += [_line("axis", LEFT, y, WIDTH - RIGHT, y), _text("end", LEFT - 4, y + 3.5, f"{tick:.3g}")]
    parts += [_text("start", LEFT, HEIGHT - 4, "1"), _text("end", WIDTH - RIGHT, HEIGHT - 4, f"epoch {epochs}")]
    for classes, points in lines:
        corners = [at(*point) for point in points]
        if len(corners) == 1:  # a line of one point is invisible
            corners.append((corners[0][0] + 3, corners[0][1]))
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
        parts.append(Markup('<polyline class="{}" points="{}"/>').format(classes, path))
    return _svg("chart", WIDTH, HEIGHT, Markup('role="img" aria-label="{}"').format(label), parts)


def rounded_up(value: float) -> float:
    """Round up to 1, 2, 5, 10, 20, 50, ... hundredths, the end of a scale."""
    steps = (digit * 10.0**power for power in range(-2, 9) for digit in (1, 2, 5))
    return next((step for step in steps if value <= step), value)


def _svg(kind: str, width: int, height: int, role: Markup, parts: Sequence[Markup]) -> Markup:
    """An SVG, with attributes for screen readers."""
    svg = Markup('<svg class="{}" viewBox="0 0 {} {}" {}>{}</svg>')
    return svg.format(kind, width, height, role, Markup("").join(parts))


def _line(kind: str, x1: float | str, y1: float, x2: float | str, y2: float) -> Markup:
    line = '<line class="{}" x1="{}" y1="{:.4g}" x2="{}" y2="{:.4g}"/>'
    return Markup(line).format(kind, x1, y1, x2, y2)


def _text(anchor: str, x: float, y: float, text: str) -> Markup:
    return Markup('<text x="{}" y="{:.4g}" text-anchor="{}">{}</text>').format(x, y, anchor, text)
