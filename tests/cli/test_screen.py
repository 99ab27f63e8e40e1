"""What reaches the terminal beside the lines of a command."""

import pytest

from cli.screen import progress


def test_progress_does_not_steer_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What others wrote is shown without its escape sequences, as in a line."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress() as show:
        show("Worker \x1b[2J\x07\x9b2J")
    shown = capsys.readouterr().err
    assert "Worker ?[2J??2J" in shown
    assert [part for part in ("\x1b[2J", "\x07", "\x9b") if part in shown] == []
