"""`make run`: the local cloud and the app on this machine, a tour of six steps, and then they continue to serve.

`--once` (`make demo`) ends after the tour, with exit code 1 if a step failed. `--cloud` (`make cloud`) starts the cloud
alone, for the tests of other projects. Every file is written to `.run/`, which is removed at the end. With `--once` the
folder is `.run-demo/`, and it stays if a step failed.
"""

import argparse
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from emulator.cloud import LocalCloud
from emulator.network.serve import HOST, listening_socket
from emulator.seed import CERTIFICATE, CLIENT_ID, CONTAINER, IDENTITY_CLIENT_ID, TENANT_ID
from emulator.tour.site import APP_PORT, AT_ONCE, CALLER, PORTS, ROOT, SCOPE, Site, SiteError, start
from emulator.tour.tour import TourError, requests, say, tour

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
    options = parser.parse_args(arguments)
    # A demo has its own ports and folder, because `make run` may be serving.
    folder = ROOT / (".run-demo" if options.once else ".run")
    kept = False
    if not options.once:
        _check_ports(*PORTS.values(), *(() if options.cloud else (APP_PORT,)))
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        with ExitStack() as stack:
            if options.cloud:
                _serve_cloud(stack.enter_context(LocalCloud(folder, ports=PORTS, users=USERS)))
                return
            ports, app_port = ({}, 0) if options.once else (PORTS, APP_PORT)
            site = start(stack, folder, ports=ports, app_port=app_port, limits=AT_ONCE, users=USERS)
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
            sys.exit(f"port {port} on {HOST} is taken: is `make run` or `make cloud` running already?")


def _serve(site: Site) -> None:
    say(f'\nTry it (key of "{CALLER}" is in .run/{CALLER}.key):')
    say(f'  curl -s localhost:{APP_PORT}/api/token -H "x-functions-key: $(cat .run/{CALLER}.key)" \\')
    say(f"       -d grant_type=client_credentials -d scope={SCOPE}")
    say(f"  ./vend token {CALLER} --scope {SCOPE}")
    say("  ./vend break entra --for 5m      watch callers not notice")
    say("  .venv/bin/python -m sqlite3 .run/directory.db 'select * from active_users limit 5'")
    say(f"Serving on http://localhost:{APP_PORT}. Ctrl-C stops everything and removes .run/")
    ended = _until_stopped()
    for line in requests(site):
        if line:
            say(line)
        elif ended.wait(0.2):
            return


def _serve_cloud(cloud: LocalCloud) -> None:
    about = {
        "Entra": cloud.authority,
        "Key Vault": cloud.vault_url,
        "Graph": cloud.graph_url,
        "Blob Storage": f"{cloud.blob_url}/{CONTAINER}",
        "management": cloud.management_url,
        "issuer": f"{cloud.issuer_url}, tokens by POST {cloud.control}/issuer/tokens",
        "managed identity": f"IDENTITY_ENDPOINT={cloud.identity_endpoint}",
        "": f"IDENTITY_HEADER={cloud.identity_header}",
        "control": f"{cloud.control}: /faults, /clock, /requests/entra, /applications, /directory",
        "CA": str(cloud.ca_file.relative_to(ROOT)),
        "tenant": TENANT_ID,
        "client": f"{CLIENT_ID}, certificate {CERTIFICATE!r} in the vault",
        "identity": f"{IDENTITY_CLIENT_ID} (may sign, may not read secrets)",
    }
    for name, value in about.items():
        say(f"{name:<18}{value}")
    say("Serving. Ctrl-C stops everything and removes .run/")
    _until_stopped().wait()


def _until_stopped() -> threading.Event:
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    return ended


if __name__ == "__main__":
    main(sys.argv[1:])
