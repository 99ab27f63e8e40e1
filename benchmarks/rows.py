"""What a benchmark reports: one figure of ours, those of the others, and the goal that was set beforehand."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

VEND = "vend"
MSAL = "msal"
AZURE = "azure-identity"
AZURE_AIO = "azure-identity aio"


class Scale(NamedTuple):
    """How much work a run does; the quick one only proves that everything still runs.

    Args:
        rounds: how often each contender is measured.
        quick: whether it is the quick one.
        users: of the larger directory that is copied.
    """

    rounds: int
    quick: bool = False
    users: int = 30_000

    def pick(self, full: int, quick: int) -> int:
        """Choose a size."""
        return quick if self.quick else full


FULL = Scale(rounds=5)
QUICK = Scale(rounds=1, quick=True)


class Goal(NamedTuple):
    """A bound on our own figure, or on its ratio to the baseline."""

    of: Literal["ours", "ratio"]
    sign: Literal["<=", ">="]
    bound: float

    def __str__(self) -> str:
        return f"{self.of} {self.sign} {self.bound:g}"

    @property
    def less_is_better(self) -> bool:
        """Which way the figure should go."""
        return self.sign == "<="

    def is_met(self, figure: float) -> bool:
        """Judge a figure."""
        return figure <= self.bound if self.less_is_better else figure >= self.bound


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison.

    Args:
        id: for programs; never changes.
        what: what was measured, for people.
        unit: of all figures.
        ours: vend's figure.
        others: theirs, by name.
        against: the name among `others` that `ratio` and goal are about.
        goal: as set before anything was measured.
    """

    id: str
    what: str
    unit: str
    ours: float
    others: Mapping[str, float]
    against: str
    goal: Goal

    @property
    def baseline(self) -> float:
        """The figure that ours is compared with."""
        return self.others[self.against]

    @property
    def ratio(self) -> float | None:
        """Ours divided by the baseline; None where the baseline is nothing."""
        return self.ours / self.baseline if self.baseline else None

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        figure = self.ours if self.goal.of == "ours" else self.ratio
        return figure is not None and self.goal.is_met(figure)


def compared(figures: Mapping[str, float], row_id: str, *, what: str, unit: str, against: str, goal: Goal) -> Row:
    """Make a row of figures by contender, of which one is vend."""
    others = {name: figure for name, figure in figures.items() if name != VEND}
    return Row(id=row_id, what=what, unit=unit, ours=figures[VEND], others=others, against=against, goal=goal)


def number(figure: float) -> str:
    """Round to three significant digits, and keep large numbers whole."""
    if abs(figure) >= 100:
        return f"{figure:,.0f}"
    return f"{figure:.3g}"
