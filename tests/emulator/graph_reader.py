"""A reader of the local Graph: it follows links as a sync does."""

from dataclasses import dataclass, field
from typing import Any

import httpx

from emulator.cloud import LocalCloud
from emulator.graph.permissions import ROLES
from tests.emulator.client import graph_token

type Row = dict[str, Any]


@dataclass
class Reader:
    """Counts its pages. Its token is a new one whenever the clock has moved."""

    cloud: LocalCloud
    http: httpx.Client
    roles: frozenset[str] = ROLES
    pages: list[Row] = field(default_factory=list)
    _token: tuple[float, str] = (0.0, "")

    def ask(self, url: str, **headers: str) -> httpx.Response:
        """Ask with a good token; a path is one of this Graph."""
        address = self.cloud.graph_url + url if url.startswith("/") else url
        if self._token[0] != self.cloud.clock():
            self._token = self.cloud.clock(), graph_token(self.cloud, roles=self.roles)
        return self.http.get(address, headers={"authorization": f"Bearer {self._token[1]}", **headers})

    def page(self, url: str, **headers: str) -> Row:
        """Get one page."""
        answer = self.ask(url, **headers)
        assert answer.status_code == 200, answer.text
        page: Row = answer.json()
        assert ("@odata.nextLink" in page) is not ("@odata.deltaLink" in page)
        self.pages.append(page)
        return page

    def round(self, url: str, **headers: str) -> tuple[list[Row], str]:
        """Read a round to its end; return its rows and the delta link."""
        page = self.page(url, **headers)
        rows: list[Row] = [*page["value"]]
        while "@odata.nextLink" in page:
            page = self.page(page["@odata.nextLink"], **headers)
            rows += page["value"]
        return rows, page["@odata.deltaLink"]

    def listed(self, url: str | None) -> list[list[Row]]:
        """Read a plain list to its end; return the rows of each page."""
        pages = []
        while url:
            page = self.ask(url).json()
            pages.append(page["value"])
            url = page.get("@odata.nextLink")
        return pages
