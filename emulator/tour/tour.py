"""The tour of `make run`: six steps, each compared with its expected result."""

import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

from emulator import base64url
from emulator.network.faults import Fault, Kind
from emulator.seed import CLIENT_ID
from emulator.tour.site import CALLER, SCOPE, Site, ask
from emulator.tour.tenant import Tenant

OTHER_SCOPE = "https://vault.azure.net/.default"
DUE_SECONDS = 2
"""The `refresh_in` of the first token of the tour."""
SYNC_SECONDS = 60.0
SDK_SECONDS = 60.0
AZURE_IDENTITY = f"""\
from azure.identity import ManagedIdentityCredential
print(ManagedIdentityCredential().get_token("{SCOPE}").token)
"""
BAR = 30


class TourError(Exception):
    """A step failed; the text names it, the expected and the actual result, and the file to read."""


def tour(site: Site) -> None:
    """Run and print the six steps.

    Raises:
        TourError: one failed.
    """
    say("Local Entra, Key Vault, Graph and Functions host ................ up")
    say("Nothing leaves this machine. No Azure account is used.\n")
    # In production a token is due for its refresh after half an hour.
    site.cloud.entra.refresh_in = DUE_SECONDS
    first = _vended(site, 1, f'"{CALLER}" asks for Microsoft Graph', "identity_provider")
    due = time.monotonic() + DUE_SECONDS
    site.cloud.entra.refresh_in = None
    secret = first["access_token"]
    claims = _claims(secret)
    _expect(site, 1, expected="1 assertion by the vault", got=f"{_signed(site)} assertion by the vault")
    say("signed in the vault; the key stayed there")
    appid = claims["appid"]
    _line(f"aud {claims['aud']}  appid {appid[:4]}..{appid[-2:]}  roles {' '.join(claims['roles'])}  {_left(first)}")

    second = _vended(site, 2, f'"{CALLER}" asks again', "cache")
    _expect(site, 2, expected=_fingerprint(secret), got=_fingerprint(second["access_token"]))
    say(f"same token, {_fingerprint(secret)}")

    _title(3, f'"{CALLER}" asks by azure-identity: two variables, no code of ours')
    _expect(site, 3, expected=_fingerprint(secret), got=_by_azure_identity(site))
    _line(f"IDENTITY_ENDPOINT, IDENTITY_HEADER     same token, {_fingerprint(secret)}")

    _title(4, f'"{CALLER}" asks for Key Vault, which it was not given')
    status, answer, _ = ask(site, OTHER_SCOPE)
    refused = f"{status}  {answer.get('error')}  retryable={json.dumps(answer.get('retryable'))}"
    _expect(site, 4, expected="400  invalid_scope  retryable=false", got=refused)
    _line(f"{refused}   why: ./vend callers explain {CALLER} --scope {OTHER_SCOPE}")

    time.sleep(max(0.0, due - time.monotonic()))
    site.cloud.faults["entra"].set(Fault(kind=Kind.REFUSE))
    try:
        fifth = _vended(site, 5, "Its refresh is due, and Entra refuses connections", "cache")
    finally:
        site.cloud.faults["entra"].clear()
    say(f"{_left(fifth)}; retrying in the background")

    _title(6, "Directory sync")
    tenant = Tenant.of(site.cloud.objects)
    _sync(site, tenant.size)
    copy = Tenant.of_copy(site.folder / "directory.db")
    _expect(site, 6, expected=str(tenant), got=str(copy))
    for line in str(copy).splitlines():
        _line(line)
    changes, rows = _sync(site, 0)
    _expect(site, 6, expected="0 changes, 0 rows written", got=f"{changes} changes, {rows} rows written")
    _line(f"again: {changes} changes, {rows} rows written   {site.folder.name}/directory.db")
    say("All six steps as expected.")


def say(line: str, *, end: str = "\n") -> None:
    """Print a line at once, even through a pipe."""
    sys.stdout.write(line + end)
    sys.stdout.flush()


def _signed(site: Site) -> int:
    """Count the assertions of this client that the key in the vault has signed.

    That key cannot leave the vault. The vault itself counts the signatures for all clients, a timer's among them.
    """
    seen = [each for each in site.cloud.entra.requests if each.client_id == CLIENT_ID and each.proof]
    return len({each.proof.jti for each in seen if each.proof and each.proof.thumbprint})


def _vended(site: Site, step: int, title: str, source: str) -> dict[str, Any]:
    _title(step, title)
    status, answer, took = ask(site)
    got = f"{status} {answer.get('token_source') or answer.get('error', '')}".strip()
    _expect(site, step, expected=f"200 {source}", got=got)
    _line(f"{status}  {took:5.1f} ms  {source:<20}", end="")
    return answer


def _by_azure_identity(site: Site) -> str:
    """Request a token by the stock library in its own process; return the token fingerprint, or its last line."""
    variables = {"IDENTITY_ENDPOINT": f"{site.app.url}/api/msi/token", "IDENTITY_HEADER": site.key}
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-I", "-c", AZURE_IDENTITY],
        env={"PATH": os.environ["PATH"], **variables},
        cwd=site.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=SDK_SECONDS,
    )
    said = (done.stdout if done.returncode == 0 else done.stderr).strip()
    return _fingerprint(said) if done.returncode == 0 else said.rpartition("\n")[2]


def _sync(site: Site, whole: int) -> tuple[int, int]:
    """Run the sync now, as an administrator; return the changes and the rows that were written."""
    read = len(site.cloud.graph.requests)
    request = urllib.request.Request(  # noqa: S310  # our own http URL
        f"{site.app.url}/api/sync?seconds={SYNC_SECONDS:.0f}", data=b"", headers={"x-functions-key": site.admin_key}
    )
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(_answer, request)
        while not run.done():
            _bar(sum(seen.rows for seen in site.cloud.graph.requests[read:]), whole)
            time.sleep(0.05)
        streams = run.result()["streams"]
    for stream in streams:
        _expect(site, 6, expected="complete", got=f"{stream['outcome']} {stream['cause'] or ''}".strip())
    _bar(whole, whole)
    return sum(stream["changes"] for stream in streams), sum(stream["rows"] for stream in streams)


def _answer(request: urllib.request.Request) -> dict[str, Any]:
    until = time.monotonic() + SYNC_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=SYNC_SECONDS + 10) as answer:  # noqa: S310
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as refusal:
            with refusal:
                # A run of the timer is under way.
                if refusal.code != HTTPStatus.CONFLICT or time.monotonic() > until:
                    raise
        time.sleep(0.2)


def _bar(done: int, whole: int) -> None:
    """Draw the progress of the sync, on a terminal alone."""
    if not whole or not sys.stdout.isatty():
        return
    filled = min(BAR, BAR * done // whole)
    say("\r\033[K" if done >= whole else f"\r   [{'#' * filled}{'.' * (BAR - filled)}] {done:,}", end="")


def _title(step: int, text: str) -> None:
    bold = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    say(f"\033[1m{step}  {text}\033[0m" if bold else f"{step}  {text}")


def _line(text: str, *, end: str = "\n") -> None:
    say(f"   {text}", end=end)


def _expect(site: Site, step: int, *, expected: str, got: str) -> None:
    if got != expected:
        raise _failed(site, step, expected=expected, got=got)


def _failed(site: Site, step: int, *, expected: str, got: str) -> TourError:
    see = site.folder / "app.log"
    return TourError(f"step {step} is not as it should be\nexpected: {expected}\ngot:      {got}\nsee:      {see}")


def _fingerprint(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()[:12]


def _left(answer: dict[str, Any]) -> str:
    return f"{round(answer['expires_in'] / 60)} min left"


def _claims(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(base64url.decode(token.split(".")[1]))
    return claims
