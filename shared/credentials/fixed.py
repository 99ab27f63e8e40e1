"""A credential whose links are known from the settings alone."""

from shared.credentials.credential import Link


class FixedCredential:
    """A credential that is never read.

    Args:
        links: what it has, for the life of the worker.
    """

    is_old = False

    def __init__(self, *links: Link) -> None:
        self.links = links

    async def read(self) -> None:
        """Do nothing: there is nothing to read."""
