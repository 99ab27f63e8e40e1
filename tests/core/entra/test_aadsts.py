from emulator.entra.errors import MEANINGS
from shared.core.entra.aadsts import known_codes, meaning
from shared.telemetry.events import LONGEST_VALUE

# Numbers that are refusals of a client-credentials request in Microsoft's documents and libraries.
SEEN_ELSEWHERE = {
    50001, 500011, 501051, 500181, 500207, 50196, 51000, 53003, 70011, 70021, 700211, 700213, 7002137, 7002138,
    700016, 700024, 700027, 7000112, 7000214, 7000215, 7000218, 7000222, 7000229, 7000274, 7000277, 90002, 900144,
    100007, 1000502, 1002012,
}  # fmt: skip


def test_every_number_that_is_known_to_occur_is_explained() -> None:
    """No operator has to look up a number that the local cloud or Microsoft's own libraries know."""
    assert known_codes() >= SEEN_ELSEWHERE | MEANINGS.keys()


def test_a_remedy_fits_into_an_event_and_a_table() -> None:
    """What is to be done comes out whole, wherever it is printed, and can be pasted from there."""
    for code in known_codes():
        for text in meaning(code) or ():
            assert text.isascii()
            assert text.isprintable()
            assert not set(text) & set("|\"'`")
            assert 10 < len(text) <= LONGEST_VALUE


def test_an_unknown_number_is_no_error() -> None:
    """Microsoft makes up new ones: the bare number is told, and nothing is made of it."""
    assert meaning(1) is None
