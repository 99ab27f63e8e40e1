"""The results as one picture: how many times better than its baseline vend is, row by row."""

import math
from collections.abc import Sequence
from html import escape

from benchmarks.rows import Row, number

WIDTH, LABEL, LINE, TOP = 960, 330, 26, 64
LOWEST, HIGHEST = 0.1, 10_000  # times better; what lies beyond is drawn at the edge
MET, MISSED, GRID, TEXT = "#2f6f4f", "#b3541e", "#d5d5d5", "#222222"


def svg(rows: Sequence[Row]) -> str:
    """Draw one bar for each row on a logarithmic axis, and a tick where its goal lies."""
    height = TOP + LINE * len(rows) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">',
        f'<g font-family="sans-serif" font-size="12" fill="{TEXT}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="12" y="22" font-size="15">vend: times better than its baseline (logarithmic; 1 = the same)</text>',
        f'<text x="12" y="40">black tick: the goal; <tspan fill="{MISSED}">this colour</tspan>: missed</text>',
    ]
    decades = range(round(math.log10(LOWEST)), round(math.log10(HIGHEST)) + 1)
    for times in (10.0**power for power in decades):
        x = _x(times)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{height - 16}" stroke="{GRID}"/>')
        parts.append(f'<text x="{x:.1f}" y="{TOP - 10}" text-anchor="middle">{times:g}</text>')
    for index, row in enumerate(rows):
        parts += _bar(row, TOP + LINE * index)
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _bar(row: Row, y: int) -> list[str]:
    one, end = _x(1), _x(_times_better(row, row.ours))
    left, width = min(one, end), max(abs(end - one), 2)
    colour = MET if row.met else MISSED
    figures = f"{number(row.ours)} against {number(row.baseline)} {row.unit}"
    inside = end > (LABEL + WIDTH) / 2
    x, anchor, ink = (end - 6, "end", "#ffffff") if inside and width > 200 else (max(end, one) + 6, "start", TEXT)
    parts = [
        f'<text x="12" y="{y + 15}">{escape(row.id)} <tspan fill="#777777">vs {escape(row.against)}</tspan></text>',
        f'<rect x="{left:.1f}" y="{y + 2}" width="{width:.1f}" height="{LINE - 8}" fill="{colour}"/>',
        f'<text x="{x:.1f}" y="{y + 15}" text-anchor="{anchor}" fill="{ink}">{escape(figures)}</text>',
    ]
    bound = row.goal.bound * row.baseline if row.goal.of == "ratio" else row.goal.bound
    at = _x(_times_better(row, bound))
    parts.append(
        f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y - 1}" y2="{y + LINE - 3}" stroke="{TEXT}" stroke-width="2"/>'
    )
    return parts


def _times_better(row: Row, figure: float) -> float:
    """Turn a figure so that more is better, whatever it is; without limit where one of the two is nothing."""
    more, less = (row.baseline, figure) if row.goal.less_is_better else (figure, row.baseline)
    if more == less:
        return 1
    return more / less if less else HIGHEST


def _x(times: float) -> float:
    """Place a number of times on the axis."""
    low, high = math.log10(LOWEST), math.log10(HIGHEST)
    at = min(max(math.log10(max(times, LOWEST)), low), high)
    return LABEL + (WIDTH - LABEL - 24) * (at - low) / (high - low)
