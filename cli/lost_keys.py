"""Keys of callers that the host does not have: it has lost them, or of two commands at once the later replaced one.

A host knows no condition for a change. Of two commands that make a key of one name in the same second, the later one
replaces the key of the earlier, whoever writes the document first. So each command that makes keys looks again at its
end, and also where it could not write: the later of the two finds what has become of both.
"""

from collections.abc import Collection

from cli.screen import complain
from cli.session import Session


def tell_lost(session: Session, names: Collection[str]) -> list[str]:
    """Name the callers that have a key which the host does not have, with the cure; return their names.

    A key counts that the document has gained since the command began. Of the others it must be all: a caller may have
    a key of another kind beside them, which the host does not list.

    Args:
        session: of the command.
        names: the callers to look for.
    """
    held, now = session.keys_now()
    known, before = set(held.values()), session.documents.callers.owners
    lost = []
    for name in names:
        keys = now.callers[name].key_sha256 if name in now.callers else ()
        away = [digest for digest in keys if digest not in known]
        if away and (len(away) == len(keys) or any(digest not in before for digest in away)):
            lost.append(name)
    if lost:
        complain(
            f"The host does not have the key of {', '.join(lost)}: it has lost it, or another command made one at the "
            "same time.",
            f"For a new one: ./vend callers rekey {' '.join(lost)}",
        )
    return lost
