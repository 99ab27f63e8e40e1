"""Route templates match as ASP.NET matches them."""

import pytest

from emulator.host.routes import Router, compile_route

GUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
ROUTER = Router(
    [
        compile_route("rest", "api/files/{*rest}"),
        compile_route("item", "api/items/{id}"),
        compile_route("numbered", "api/items/{id:int}"),
        compile_route("newest", "api/items/newest"),
        compile_route("tagged", "api/tags/{name:alpha}/{note?}"),
        compile_route("known", "api/known/{id:guid}"),
        compile_route("read", "api/both", ["get"]),
        compile_route("write", "api/both", ["POST", "PUT"]),
        compile_route("rooted", "/plain"),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api/items/newest", ("newest", {})),
        ("GET", "/API/Items/NEWEST", ("newest", {})),
        ("GET", "/api/items/newest/", ("newest", {})),
        ("GET", "/api/items/12", ("numbered", {"id": "12"})),
        ("GET", "/api/items/-1", ("numbered", {"id": "-1"})),
        ("GET", "/api/items/one two", ("item", {"id": "one two"})),
        ("GET", "/api/items/%2F", ("item", {"id": "%2F"})),
        ("GET", "/api/items/", None),
        ("GET", "/api/items/a/b", None),
        ("GET", "/api/files", ("rest", {})),
        ("GET", "/api/files/a/b.txt", ("rest", {"rest": "a/b.txt"})),
        ("GET", "/api/files/a\nb", ("rest", {"rest": "a\nb"})),
        ("GET", "/api/tags/red", ("tagged", {"name": "red"})),
        ("GET", "/api/tags/red/x", ("tagged", {"name": "red", "note": "x"})),
        ("GET", "/api/tags/7", None),
        ("GET", f"/api/known/{GUID}", ("known", {"id": GUID})),
        ("GET", "/api/known/0f8f", None),
        ("get", "/api/both", ("read", {})),
        ("PUT", "/api/both", ("write", {})),
        ("DELETE", "/api/both", None),
        ("BREW", "/plain", ("rooted", {})),
        ("GET", "/plainer", None),
        ("GET", "//plain", None),
        ("GET", "/api//items/newest", None),
        ("GET", "/api/./items/newest", None),
        ("GET", "/api/files/../items/newest", None),
        ("GET", "/api/items/..", None),
        ("GET", "/api/\u017fomething", None),
        ("GET", "", None),
    ],
)
def test_a_request_finds_the_most_specific_template_or_none(
    method: str, path: str, expected: tuple[str, dict[str, str]] | None
) -> None:
    """Literals before constrained parameters before parameters before catch-alls; no path is rewritten to match."""
    assert ROUTER.match(method, path) == expected


@pytest.mark.parametrize("template", ["a/{id:range(1,2)}", "a/{x}.{y}", "a/{id", "a/{id:bool}"])
def test_a_template_that_is_not_imitated_is_refused(template: str) -> None:
    """A route is never served in another way than Azure would serve it."""
    with pytest.raises(ValueError, match="is not understood"):
        compile_route("any", template)
