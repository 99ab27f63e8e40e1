from dataclasses import replace

from shared.core.directory.streams import USERS, Column

ROOT = "https://graph.microsoft.com"


def test_a_link_is_good_for_what_it_was_made_for() -> None:
    """Another root or another choice of properties is another copy."""
    more = replace(USERS, properties={**USERS.properties, "city": Column("city")})
    assert USERS.fingerprint(ROOT) != USERS.fingerprint("https://graph.microsoft.us")
    assert USERS.fingerprint(ROOT) != more.fingerprint(ROOT)
    assert USERS.first_link(ROOT).startswith(f"{ROOT}/v1.0/users/delta?$select=accountEnabled,createdDateTime,")
