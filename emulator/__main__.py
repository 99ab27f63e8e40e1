"""`make run`: the local cloud and the app on this machine, a tour of six steps, and then they continue to serve.

`--once` (`make demo`) ends after the tour, with exit code 1 if a step failed. `--cloud` (`make cloud`) starts the cloud
alone, for the tests of other projects: until Ctrl-C, or while a program runs. `--port` moves everything to a row of
ports. Every file is written to `.run/`, which is removed at the end. With `--once` the folder is `.run-demo/`, and it
stays if a step failed. A program gets a folder of its own.
"""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from emulator.cloud import LocalCloud
from emulator.foreign import EXPORTABLE, login, run
from emulator.network.holder import holder
from emulator.network.serve import HOST, listening_socket
from emulator.seed import CERTIFICATE, CLIENT_ID, CONTAINER, GRAPH, IDENTITY_CLIENT_ID, ORDERS, TENANT_ID
from emulator.tour.app import SiteError
from emulator.tour.ports import FREE, LENGTH, Ports, serving, write_addresses
from emulator.tour.site import AT_ONCE, CALLER, ROOT, SCOPE, SHOP, SHOP_SCOPES, Site, start
from emulator.tour.tour import TourError, say, tour

USERS = 2_000  # in the synthetic tenant


def main(arguments: Sequence[str], *, prepare: Callable[[Site], object] = lambda _: None) -> None:
    """Run until Ctrl-C, or once.

    Args:
        arguments: of the command line.
        prepare: called with the site before the tour; tests inject faults here.
    """
    parser = argparse.ArgumentParser(prog="python -m emulator", description="vend and its cloud on this machine.")
    parser.add_argument("--once", action="store_true", help="end after the tour; exit 1 if a step failed")
    parser.add_argument("--cloud", action="store_true", help="start the cloud alone, without the app")
    parser.add_argument(
        "command", nargs="*", metavar="-- CMD", help="with --cloud: a program; the cloud serves while it runs"
    )
    parser.add_argument(
        "--port",
        type=_first_port,
        help="of the app; the parts of the cloud take the next ones; without it, the usual ones",
    )
    options = parser.parse_args(arguments)
    if options.command:
        if not options.cloud:
            parser.error("a program is for --cloud")
        with TemporaryDirectory() as own, LocalCloud(Path(own), ports=_ports(options).parts) as cloud:
            sys.exit(_serve_cloud(cloud, Path(own), options.command))
    # A demo has its own ports and folder, because `make run` may be serving.
    folder = ROOT / (".run-demo" if options.once else ".run")
    kept = False
    ports = _ports(options)
    if address := serving(folder):
        sys.exit(f"A run of this clone serves already, at {address}. End it first, by Ctrl-C in its terminal.")
    _check_ports(*ports.parts.values(), *(() if options.cloud else (ports.app,)))
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, exist_ok=True)  # a volume of a container stays
        with ExitStack() as stack:
            if options.cloud:
                _serve_cloud(stack.enter_context(LocalCloud(folder, ports=ports.parts, users=USERS)), folder, ())
                return
            site = start(stack, folder, ports=ports, limits=AT_ONCE, users=USERS)
            prepare(site)
            tour(site)
            if options.once:
                say("`make run` does the same and continues to serve; these commands work there.")
            else:
                _serve(site)
    except (SiteError, TourError) as error:
        kept = options.once  # the files of the failed step
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


def _check_ports(*ports: int) -> None:
    """Exit before any file of a run that is serving already is touched."""
    for port in ports:
        try:
            listening_socket(port).close()
        except OSError:
            found = holder(port)
            by = f" by {found}" if found else ""
            sys.exit(
                f"Port {port} on {HOST} is taken{by}.\n"
                "If it is an earlier run of yours, end that one. To run beside it, take other ports: make run PORT=9000"
            )


def _ports(options: argparse.Namespace) -> Ports:
    if options.port:
        return Ports.following(options.port)
    return FREE if options.once or options.command else Ports.usual()


def _first_port(text: str) -> int:
    first, last = 1024, 65536 - LENGTH
    if not text.isdigit() or not first <= int(text) <= last:
        raise argparse.ArgumentTypeError(f"must be a number, {first} to {last}")
    return int(text)


def trial(app: str) -> Sequence[str]:
    """Return what is printed once the tour is over: what can be tried with the app at this host and port."""
    return (
        "",
        f'Try it (the keys of "{CALLER}" and "{SHOP}" are in .run/{CALLER}.key and .run/{SHOP}.key):',
        f'  curl -s {app}/api/token -H "x-functions-key: $(cat .run/{CALLER}.key)" \\',
        f"       -d grant_type=client_credentials -d scope={SCOPE}",
        f"  ./vend token {SHOP} --scope {SHOP_SCOPES[0]}",
        "  ./vend status",
        f"  ./vend break entra --for 5m && ./vend watch {CALLER}      the caller does not notice",
        "  .venv/bin/python -m sqlite3 .run/directory.db 'select * from active_users limit 5'",
        f"Serving on http://{app}. Ctrl-C stops everything and removes .run/",
        "Every event of the app, as it comes:",
    )


def _serve(site: Site) -> None:
    app = f"localhost:{site.app.url.rpartition(':')[2]}"
    # Its first line says that it follows the log; it ends by itself where this process is killed, with the host.
    watching = subprocess.Popen(  # noqa: S603  # our own program
        [sys.executable, "-P", "-m", "cli", "watch", "--log", str(site.folder / "app.log")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with watching:
        assert watching.stdout is not None
        watching.stdout.readline()
        for line in trial(app):
            say(line)
        ended = _ended(watching.terminate)
        for line in watching.stdout:
            say(line.rstrip())
    ended.wait()


def _serve_cloud(cloud: LocalCloud, folder: Path, command: Sequence[str]) -> int:
    """Serve until Ctrl-C, or while a program runs; return the exit code."""
    variables = login(cloud, folder)
    if command:
        return run(command, variables)
    write_addresses(folder, cloud, app=None)
    about = {
        "tenant": f"{TENANT_ID}, a client {CLIENT_ID}",
        "Entra": f"{cloud.authority}, for {GRAPH} or {ORDERS}",
        "log in": "by AZURE_CLIENT_SECRET, or by AZURE_CLIENT_CERTIFICATE_PATH, below",
        "Key Vault": f"{cloud.vault_url}: {CERTIFICATE!r} signs and stays, {EXPORTABLE!r} can be downloaded",
        "Graph": cloud.graph_url,
        "Blob Storage": f"{cloud.blob_url}/{CONTAINER}",
        "management": cloud.management_url,
        "issuer": f"{cloud.issuer_url}, tokens by POST {cloud.control}/issuer/tokens",
        "identity": f"{IDENTITY_CLIENT_ID}, at IDENTITY_ENDPOINT: may sign, make certificates and download them",
        "control": f"{cloud.control}: /faults, /rehearsals, /clock, /requests/entra, /applications, /directory",
    }
    for name, value in about.items():
        say(f"{name:<14}{value}")
    say("\nFor the shell of a client (secrets of this run alone):")
    for name, value in variables.items():
        say(f"export {name}={shlex.quote(value)}")
    say("\nServing. Ctrl-C stops everything and removes .run/")
    _ended().wait()
    return 0


def _ended(also: Callable[[], object] = lambda: None) -> threading.Event:
    """Return what is set by Ctrl-C and by SIGTERM, which do something else too."""
    ended = threading.Event()

    def end(*_: object) -> None:
        ended.set()
        also()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    return ended


if __name__ == "__main__":
    main(sys.argv[1:])
