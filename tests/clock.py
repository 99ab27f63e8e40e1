"""Both clocks, moved by hand."""

from shared.core.token import Moment


class FakeClock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self._wall = 1_800_000_000.0
        self._boot = 1_000.0

    def __call__(self) -> Moment:
        """Read both."""
        return Moment(wall=self._wall, boot=self._boot)

    def tick(self, seconds: float) -> None:
        """Let time pass: both clocks go on."""
        self._wall += seconds
        self._boot += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock; no time passes."""
        self._wall += seconds

    def suspend(self, seconds: float) -> None:
        """Let time pass while somebody holds the wall clock back."""
        self._boot += seconds
