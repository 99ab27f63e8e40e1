"""What the local Functions host does between a client's socket and a function, as the host in Azure does it."""

import datetime as dt
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from emulator.host.app import Host
from emulator.network.serve import Background

APP = Path(__file__).parent / "fixture_app"
MINUTE = dt.timedelta(seconds=61)


class Clock:
    """Shows the time it was set to."""

    def __init__(self) -> None:
        self.now = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)

    def __call__(self) -> dt.datetime:
        """Tell the time."""
        return self.now


class Sink:
    """Keeps the lines of the log, or fails at each."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.is_broken = False

    def __call__(self, line: str) -> None:
        """Take a line."""
        if self.is_broken:
            raise OSError("the disk is full")
        self.lines.append(line)


class Site:
    """The fixture app behind a host on a real socket."""

    def __init__(self, background: Background, host: Host, client: httpx.Client, keys: Path) -> None:
        self.background = background
        self.host = host
        self.client = client
        self.key_file = keys
        self.clock = Clock()
        self.sink = Sink()

    @property
    def keys(self) -> Any:  # noqa: ANN401 - a JSON document
        """The key store's document."""
        return json.loads(self.key_file.read_text())

    def status(self, path: str, key: str = "", method: str = "GET") -> int:
        """Ask with a key, and see how it went."""
        headers = {"x-functions-key": key} if key else {}
        return self.client.request(method, path, headers=headers).status_code

    def manage(self, method: str, path: str, content: object = None) -> httpx.Response:
        """Call the key management API with the master key."""
        return self.client.request(
            method, f"/admin/{path}", headers={"x-functions-key": self.keys["master"]}, json=content
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One host for all tests of this module: the runtime allows one at a time."""
    keys = tmp_path_factory.mktemp("host") / "keys.json"
    clock, sink = Clock(), Sink()
    # The client logs in this process too, and its lines belong to no invocation.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with (
        Background() as background,
        background.run(Host.load(APP, keys=keys, now=clock, log=sink)) as host,
        httpx.Client(base_url=f"http://127.0.0.1:{background.serve(host)}", trust_env=False) as client,
    ):
        site = Site(background, host, client, keys)
        site.clock, site.sink = clock, sink
        yield site


def test_every_function_is_listed_and_http_ones_are_served(site: Site) -> None:
    """A timer is indexed beside the HTTP functions, and has no address."""
    assert site.host.functions["tick"].trigger == "timerTrigger"
    assert site.host.functions["guarded"].trigger == "httpTrigger"
    assert site.status("/api/tick", site.keys["master"]) == 404


@pytest.mark.parametrize(
    ("path", "key", "expected"),
    [
        ("/api/empty", "", 200),
        ("/api/empty", "wrong", 200),
        ("/api/guarded", "", 401),
        ("/api/guarded", "wrong", 401),
        ("/api/guarded", "function guarded", 200),
        ("/api/guarded", "function neighbour", 401),
        ("/api/guarded", "host", 200),
        ("/api/neighbour", "host", 200),
        ("/api/guarded", "master", 200),
        ("/api/inner", "host", 401),
        ("/api/inner", "function inner", 401),
        ("/api/inner", "master", 200),
        ("/api/files/special", "", 401),
        ("/api/files/special", "function special", 200),
        ("/admin/host/status", "", 401),
        ("/admin/host/status", "wrong", 401),
        ("/admin/host/status", "host", 403),
        ("/admin/host/status", "function guarded", 401),
        ("/admin/host/status", "master", 200),
        ("/ADMIN/host/functionkeys", "", 401),
        ("/admin/functions/tick", "", 401),
        ("/admin/warmup", "", 404),
        ("/admin/warmup", "master", 404),
        ("/admin", "", 404),
    ],
)
def test_a_key_opens_what_its_scope_says(site: Site, path: str, key: str, expected: int) -> None:
    """Function keys open their function, host keys every function, the master key everything."""
    keys = site.keys
    values = {f"function {name}": scope["default"] for name, scope in keys["functions"].items()}
    values |= {"host": keys["functionKeys"]["default"], "master": keys["master"]}
    assert site.status(path, values.get(key, key)) == expected


def test_a_refusal_has_no_body(site: Site) -> None:
    """The host's 401 and 404 are bare, at the prefix of the routes and at the warm-up of an instance too."""
    answers = [site.client.get(path) for path in ("/api/guarded", "/api/nowhere", "/api", "/api/", "/api/warmup")]
    assert [(answer.status_code, answer.content) for answer in answers] == [(401, b""), *[(404, b"")] * 4]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("disabled", "status", "content_type"),
    [("", 200, "text/html"), ("false", 200, "text/html"), ("1", 200, "text/html"), ("True", 204, None)],
)
def test_the_root_has_a_page_that_a_setting_removes(
    site: Site, monkeypatch: pytest.MonkeyPatch, method: str, disabled: str, status: int, content_type: str | None
) -> None:
    """`/` shows Microsoft's page to everybody, and nothing where AzureWebJobsDisableHomepage is `true`."""
    monkeypatch.setenv("AzureWebJobsDisableHomepage", disabled)
    answer = site.client.request(method, "/")
    assert (answer.status_code, answer.headers.get("content-type")) == (status, content_type)
    assert bool(answer.content) is (status == 200)


def test_the_first_key_header_is_checked_and_python_sees_all(site: Site) -> None:
    """Of repeated key headers only the first counts, and a header, even an empty one, hides `code`."""
    good = site.keys["functionKeys"]["default"]

    def status(*keys: str, query: str = "") -> int:
        return site.client.get(f"/api/guarded{query}", headers=[("x-functions-key", key) for key in keys]).status_code

    assert status(good, "wrong") == 200
    assert status("wrong", good) == 401
    assert status(query=f"?code={good}") == 200
    assert status(query=f"?CODE={good}&code=wrong") == 200
    assert status("wrong", query=f"?code={good}") == 401
    assert status("", query=f"?code={good}") == 401
    seen = site.client.get("/api/echo", headers=[("x-functions-key", "a"), ("X-Functions-Key", "b")]).json()
    assert seen["headers"]["x-functions-key"] == "a,b"


def test_a_new_key_is_refused_until_the_store_may_be_read_again(site: Site) -> None:
    """An unknown key makes the host read its store, at most once a minute."""
    site.clock.now += MINUTE
    assert site.status("/api/guarded", "wrong") == 401
    made = site.manage("POST", "host/functionkeys/caller").json()
    assert made["name"] == "caller"
    assert len(made["value"]) == 56
    site.clock.now += dt.timedelta(seconds=60)
    assert site.status("/api/guarded", made["value"]) == 401
    site.clock.now += dt.timedelta(seconds=1)
    assert site.status("/api/guarded", made["value"]) == 200


def test_a_deleted_key_still_passes_where_it_was_accepted(site: Site) -> None:
    """An accepted key is remembered for the function it opened, and known nowhere else once the store was read."""
    key = site.manage("POST", "host/functionkeys/leaver").json()["value"]
    site.clock.now += MINUTE
    assert site.status("/api/guarded", key) == 200
    assert site.manage("DELETE", "host/functionkeys/leaver").status_code == 204
    site.clock.now += MINUTE
    assert site.status("/api/guarded", "wrong") == 401
    assert site.status("/api/guarded", key) == 200
    assert site.status("/api/neighbour", key) == 401


@pytest.mark.parametrize("scope", ["host/functionkeys", "functions/Guarded/keys"])
def test_keys_are_managed_through_the_admin_api(site: Site, scope: str) -> None:
    """Both scopes take the same calls, and the store's file is the result."""
    assert site.manage("PUT", f"{scope}/mine", {"name": "mine", "value": "chosen"}).status_code == 201
    assert site.manage("PUT", f"{scope}/mine", {"value": "changed"}).status_code == 200
    assert site.manage("GET", f"{scope}/mine").json() == {"name": "mine", "value": "changed"}
    assert {"name": "mine", "value": "changed"} in site.manage("GET", scope).json()["keys"]
    held = site.keys["functionKeys"] if scope.startswith("host") else site.keys["functions"]["guarded"]
    assert held["mine"] == "changed"
    assert site.manage("DELETE", f"{scope}/mine").status_code == 204
    assert site.manage("DELETE", f"{scope}/mine").status_code == 404
    assert site.key_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("method", "path", "content", "expected"),
    [
        ("PUT", "host/functionkeys/_master", {"value": "mine"}, 400),
        ("POST", "host/functionkeys/_own", None, 400),
        ("DELETE", "host/functionkeys/_master", None, 400),
        ("PUT", "host/functionkeys/mine", {"name": "mine"}, 400),
        ("PUT", "host/functionkeys/mine", ["value"], 400),
        ("GET", "host/functionkeys/absent", None, 404),
        ("GET", "functions/absent/keys", None, 404),
        ("POST", "host/functionkeys", None, 405),
        ("GET", "host/nothing", None, 404),
    ],
)
def test_the_admin_api_refuses_what_the_real_one_refuses(
    site: Site, method: str, path: str, content: object, expected: int
) -> None:
    """A refusal changes nothing."""
    before = site.keys
    assert site.manage(method, path, content).status_code == expected
    assert site.keys == before


def test_the_status_is_told_to_the_master_key(site: Site) -> None:
    """Deployment tools wait for this document."""
    assert site.manage("GET", "host/status").json() == {"state": "Running"}


def test_a_request_reaches_python_as_the_real_host_gives_it(site: Site) -> None:
    """The raw query stays in `url`; repeated values are joined by a bare comma, empty query values are gone."""
    target = b"/api/echo/7?a=1&B=x+y&a=%2F&b=&A=3&empty=&flag"
    headers = [("X-Two", "1"), ("x-two", ""), ("X-TWO", "2, 3"), ("x-none", "")]
    seen = site.client.get("/", headers=headers, extensions={"target": target}).json()
    assert seen["url"] == f"{site.client.base_url}{target.decode()}"
    assert seen["params"] == {"a": "1,/,3", "B": "x y"}
    assert seen["route_params"] == {"id": "7"}
    assert (seen["headers"]["x-two"], seen["headers"]["x-none"]) == ("1,2, 3", "")


@pytest.mark.parametrize("body", [b"", b"a=1&a=%2F+\x00\xff\r\n", b"\xef\xbb\xbf{}"])
def test_a_body_is_passed_byte_for_byte(site: Site, body: bytes) -> None:
    """Nothing decodes, trims or re-encodes a body on its way."""
    content_type = {"content-type": "application/x-www-form-urlencoded"}
    assert site.client.post("/api/echo", content=body, headers=content_type).json()["body"] == body.hex()


def test_a_body_of_unknown_length_arrives_empty(site: Site) -> None:
    """FND-C16: the real host hands on a body only if Content-Length says that there is one."""
    assert site.client.post("/api/echo", content=iter([b"a=1", b"&b=2"])).json()["body"] == ""


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"])
def test_a_function_without_methods_takes_every_method(site: Site, method: str) -> None:
    """Whatever is a token is a method."""
    assert site.client.request(method, "/api/echo").json()["method"] == method


def test_head_is_a_method_like_any_other_and_gets_no_body(site: Site) -> None:
    """HEAD is served where it is listed, without a body, and is never made from GET."""
    answer = site.client.head("/api/files/a")
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "6", b"")
    assert site.status("/api/files/special", site.keys["master"], "HEAD") == 200
    assert site.status("/api/files/a", method="POST") == 404


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/api/files/%73pecial", 401),
        (b"/API/FILES/SPECIAL/", 401),
        (b"/api/files%2Fspecial", 404),
        (b"/api/files/../guarded", 404),
        (b"/api/files/%2e%2e/guarded", 404),
        (b"//api/guarded", 404),
        (b"/api//guarded", 404),
        (b"/x/../admin/host/status", 404),
        (b"/%61dmin/host/status", 401),
    ],
)
def test_no_spelling_of_a_path_gets_round_a_key(site: Site, target: bytes, expected: int) -> None:
    """Another spelling of a path needs the same key, or is no path of the app."""
    assert site.client.get("/", extensions={"target": target}).status_code == expected


def test_a_path_is_decoded_once(site: Site) -> None:
    """Route parameters are decoded, but for the slash, and `url` has the path encoded again."""
    assert site.client.get("/", extensions={"target": b"/api/files/a%20b%2fc"}).text == "file a b%2Fc"
    seen = site.client.get("/", extensions={"target": b"/api/%65cho"}).json()
    assert seen["url"] == f"{site.client.base_url}/api/echo"


def test_an_answer_is_passed_on_whole(site: Site) -> None:
    """Status, headers, every cookie and the bytes of the body arrive as the function gave them."""
    answer = site.client.get("/api/cookies")
    assert (answer.status_code, answer.headers["x-kind"], answer.content) == (418, "teapot", b"\x00\xff")
    assert answer.headers.get_list("set-cookie") == ["a=1; Path=/", "b=2; HttpOnly; Path=/"]
    assert site.client.get("/api/nothing").content == b""
    assert site.client.get("/api/files/a").headers["content-type"] == "text/plain; charset=utf-8"


def test_a_failure_is_an_empty_500_and_its_text_is_in_the_log_alone(site: Site) -> None:
    """What a function raises never reaches the caller."""
    answer = site.client.get("/api/fails")
    assert (answer.status_code, answer.content) == (500, b"")
    assert "do not show this to GET" in site.sink.lines[-1]
    assert "Executed 'Functions.fails' (Failed" in site.sink.lines[-1]


def test_only_lines_of_a_running_invocation_reach_the_log(site: Site) -> None:
    """The message alone travels; lines of plain threads and of ended invocations are dropped and counted."""
    written, dropped = len(site.sink.lines), site.host.dropped_lines
    assert [site.status(f"/api/{name}") for name in ("logs", "release", "synclogs")] == [200, 200, 200]
    assert site.sink.lines[written:] == ["inside async", "inside a thread that has the context", "inside sync"]
    assert site.host.dropped_lines == dropped + 2


def test_a_log_that_fails_breaks_no_answer(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """The app is served when its log can not be written."""
    site.sink.is_broken = True
    try:
        assert [site.status(f"/api/{name}") for name in ("synclogs", "fails")] == [200, 500]
    finally:
        site.sink.is_broken = False
    assert "the disk is full" in capsys.readouterr().err


def test_a_function_can_be_invoked_in_process(site: Site) -> None:
    """`invoke` is the door behind routing and keys, and makes the same request."""
    call = site.host.invoke("echo", method="POST", url="http://localhost/api/echo?q=1", headers=[("A", "b")], body=b"x")
    answer = site.background.run(call)
    seen = json.loads(answer.body)
    assert (answer.status, seen["params"], seen["headers"], seen["body"]) == (200, {"q": "1"}, {"a": "b"}, "78")
