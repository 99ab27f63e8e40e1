"""Loops that read users as others do, beside which the sync of the directory is measured. None of them keeps a link."""

import asyncio
import json
import subprocess
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Boolean, Column, MetaData, String, Table, create_engine
from sqlalchemy.orm import Session, declarative_base

from benchmarks.graph_pages import COLUMNS, FIRST_LINK, Pages

MSGRAPH, ROADRECON, ORM = "msgraph-sdk", "roadrecon-shaped loop", "ORM loop"
REPOSITORY = Path(__file__).parents[1]
# `make bench` makes it.
SDK_PYTHON = REPOSITORY / ".venv" / "msgraph" / "bin" / "python"
BATCH = 1_000


def loops() -> Mapping[str, Callable[[Path, int], float]]:
    """Return each loop, which returns users/s for a new file; without Microsoft's SDK where nobody has installed it."""
    found = {ROADRECON: _roadrecon, ORM: _orm}
    return {MSGRAPH: _msgraph, **found} if SDK_PYTHON.exists() else found


def _msgraph(file: Path, users: int) -> float:
    command = [str(SDK_PYTHON), "-m", "benchmarks.msgraph_loop", str(file), str(users)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    return float(done.stdout)


def _roadrecon(file: Path, users: int) -> float:
    """Insert batches of a thousand by one statement each, into an empty table, as roadrecon gathers."""
    types: Mapping[str, type[Boolean | String]] = {"account_enabled": Boolean}
    columns = [Column(name, types.get(name, String)) for name in COLUMNS.values()]
    table = Table("person", metadata := MetaData(), Column("id", String, primary_key=True), *columns)
    engine = create_engine(f"sqlite:///{file}")
    metadata.create_all(engine)
    pages, batch = Pages(users), list[dict[str, Any]]()

    def store() -> None:
        with engine.begin() as connection:
            connection.execute(table.insert(), batch)
        batch.clear()

    async def gather() -> None:
        link = FIRST_LINK
        while link:
            page = json.loads(await pages.page(link))
            batch.extend(map(_row, page["value"]))
            if len(batch) >= BATCH:
                store()
            link = page.get("@odata.nextLink")
        if batch:
            store()

    found = users / _seconds(gather)
    engine.dispose()
    return found


def _orm(file: Path, users: int) -> float:
    """Merge each user by an ORM, a page in a transaction."""
    base = declarative_base()
    columns = {name: Column(Boolean if name == "account_enabled" else String) for name in COLUMNS.values()}
    person = type("Person", (base,), {"__tablename__": "person", "id": Column(String, primary_key=True), **columns})
    engine = create_engine(f"sqlite:///{file}")
    base.metadata.create_all(engine)
    pages = Pages(users)

    async def merge() -> None:
        link = FIRST_LINK
        while link:
            page = json.loads(await pages.page(link))
            with Session(engine) as session:
                for item in page["value"]:
                    session.merge(person(**_row(item)))
                session.commit()
            link = page.get("@odata.nextLink")

    found = users / _seconds(merge)
    engine.dispose()
    return found


def _seconds(work: Callable[[], Coroutine[Any, Any, None]]) -> float:
    began = time.perf_counter()
    asyncio.run(work())
    return time.perf_counter() - began


def _row(item: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": item["id"], **{column: item.get(name) for name, column in COLUMNS.items()}}
