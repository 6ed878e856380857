"""Charts as numbers ready to be drawn: percent across, units down. A template draws them, a table stands beside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cdr.ladder import percent

HEIGHT = 168
_TOP = 14
_STEPS = (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
_RULES = 3
_SHADES = 5
_ROW = 20


@dataclass(frozen=True)
class Column:
    """One place across: what was good and what was not, stacked; `before` is what it is compared with."""

    label: str
    title: str
    good: int
    bad: int = 0
    before: int | None = None
    under_way: bool = False


@dataclass(frozen=True)
class Bar:
    x: str
    width: str
    hit_x: str
    hit_width: str
    middle: str
    label: str  # empty where there is no room for all
    title: str
    good_y: str
    good_height: str
    bad_y: str
    bad_height: str
    before_y: str  # empty for none
    before_x: str
    before_end: str
    under_way: bool


@dataclass(frozen=True)
class BarChart:
    bars: Sequence[Bar]
    rules: Sequence[tuple[str, str, int]]  # the rule's height, its label's, its value
    height: int = HEIGHT

    @property
    def whole_height(self) -> int:
        return self.height + 22


def bar_chart(columns: Sequence[Column], *, every: int = 1) -> BarChart:
    """`every` says at which columns a label stands."""
    most = max((max(each.good + each.bad, each.before or 0) for each in columns), default=0)
    step = next((step for step in _STEPS if most <= step * _RULES), _STEPS[-1])
    top = max(step, -(-most // step) * step)
    unit = (HEIGHT - _TOP) / top
    share = 100 / max(len(columns), 1)
    bars = [_bar(column, index, share, unit, labelled=index % every == 0) for index, column in enumerate(columns)]
    rules = [
        (f"{HEIGHT - value * unit:.1f}", f"{HEIGHT - value * unit + 4:.1f}", value)
        for value in range(step, top + 1, step)
    ]
    return BarChart(bars, rules)


def _bar(column: Column, index: int, share: float, unit: float, *, labelled: bool) -> Bar:
    x = index * share
    good, bad = column.good * unit, column.bad * unit
    return Bar(
        x=percent(x + share * 0.2),
        width=percent(share * 0.6),
        hit_x=percent(x),
        hit_width=percent(share),
        middle=percent(x + share / 2),
        label=column.label if labelled else "",
        title=column.title,
        good_y=f"{HEIGHT - good:.1f}",
        good_height=f"{good:.1f}",
        bad_y=f"{HEIGHT - good - bad:.1f}",
        bad_height=f"{bad:.1f}",
        before_y="" if not column.before else f"{HEIGHT - column.before * unit:.1f}",
        before_x=percent(x + share * 0.12),
        before_end=percent(x + share * 0.88),
        under_way=column.under_way,
    )


@dataclass(frozen=True)
class Cell:
    x: str
    width: str
    y: int
    shade: int  # 0 for nothing, to 5
    title: str


@dataclass(frozen=True)
class HeatMap:
    cells: Sequence[Cell]
    rows: Sequence[tuple[int, str]]  # the height of a row's label, and the label
    labels: Sequence[tuple[str, str]]  # where a column's label stands, and the label
    height: int

    @property
    def labels_y(self) -> int:
        return self.height - 6


def heat_map(rows: Sequence[str], columns: Sequence[str], values: Mapping[tuple[int, int], int], unit: str) -> HeatMap:
    """`values` by (row, column); a title says the row, the column and the value with its unit."""
    most = max(values.values(), default=0)
    share = 100 / max(len(columns), 1)
    cells = [
        Cell(
            percent(index * share + share * 0.04),
            percent(share * 0.92),
            row * _ROW,
            _shade(values.get((row, index), 0), most),
            f"{name} {column}: {values.get((row, index), 0):,} {unit}",
        )
        for row, name in enumerate(rows)
        for index, column in enumerate(columns)
    ]
    labels = [
        (percent(index * share + share / 2), column.removesuffix(":00"))
        for index, column in enumerate(columns)
        if index % 2 == 0
    ]
    return HeatMap(cells, [(row * _ROW + 12, name) for row, name in enumerate(rows)], labels, len(rows) * _ROW + 22)


def _shade(value: int, most: int) -> int:
    return -(-value * _SHADES // most) if value else 0
