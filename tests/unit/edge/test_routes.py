from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from portico.edge.routes import Entry, Match, Table, order_key


def entry(
    index: int, *paths: str, hosts: tuple[str, ...] = (), methods: tuple[str, ...] = (), value: Any = None
) -> Entry:
    return Entry(hosts, paths, methods, index, index if value is None else value)


def table(*paths: str) -> Table:
    return Table([entry(index, path, value=path) for index, path in enumerate(paths)])


def find(routes: Table, path: bytes, method: bytes = b"GET", host: bytes = b"example.com") -> Any:
    return routes.find(host, path, method).value


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/", "/"),
        (b"/users", "/users"),
        (b"/users/", "/users/*"),
        (b"/users/7", "/users/{id}"),
        (b"/users/me", "/users/me"),
        (b"/users/me/", "/users/*"),
        (b"/users/me/teams", "/users/{id}/teams"),
        (b"/users/7/teams", "/users/{id}/teams"),
        (b"/users/7/teams/1", "/users/*"),
        (b"/users/7/", "/users/*"),
        (b"/teams", "/teams/*"),
        (b"/teams/", "/teams/"),
        (b"/teams/a/b/c", "/teams/*"),
        (b"/teamsters", None),
        (b"/Users", None),
        (b"/a b", "/a%20b"),
        (b"/a%2Fb", "/a%2fb"),
        (b"/a/b", None),
        (b"/%zz", "/%25zz"),
        (b"/*", "/%2A"),
        (b"/{x}", "/%7Bx%7D"),
        (b"/k\xc3\xa4se", "/käse"),
        (b"/x/y", "//x//y"),
        (b"*", None),
        (b"", None),
        (b"users", None),
    ],
)
def test_paths(path: bytes, expected: str | None) -> None:
    routes = table(
        "/", "/users/*", "/users/{id}", "/users", "/users/me", "/users/{id}/teams", "/teams/*", "/teams/",
        "/a%20b", "/a%2fb", "/%25zz", "/%2A", "/%7Bx%7D", "/käse", "//x//y",
    )  # fmt: skip
    assert find(routes, path) == expected


def test_a_star_takes_an_empty_remainder_and_everything_else() -> None:
    routes = table("/*")
    for path in (b"/", b"/a", b"/a/", b"/a/b/c"):
        assert find(routes, path) == "/*"
    assert find(table("/users/*"), b"/users") == "/users/*"
    assert find(table("/users/*"), b"/user") is None
    assert find(table("/a/{x}/*"), b"/a/1") == "/a/{x}/*"
    assert find(table("/a/{x}/*"), b"/a/") is None
    assert find(table("/a/b/*"), b"/a/b/c/d/e") == "/a/b/*"


def test_a_parameter_is_one_segment_that_is_not_empty() -> None:
    routes = table("/a/{x}", "/b/{x}/c")
    assert find(routes, b"/a/") is None
    assert find(routes, b"/a/1/2") is None
    assert find(routes, b"/b//c") is None


def test_it_turns_back_where_a_literal_leads_nowhere() -> None:
    routes = table("/a/b/c", "/a/{x}/d", "/{y}/b/e", "/*")
    assert find(routes, b"/a/b/c") == "/a/b/c"
    assert find(routes, b"/a/b/d") == "/a/{x}/d"
    assert find(routes, b"/a/b/e") == "/{y}/b/e"
    assert find(routes, b"/a/b/f") == "/*"


def test_a_longer_literal_beginning_wins_over_a_longer_whole() -> None:
    assert find(table("/{x}/b", "/a/*"), b"/a/b") == "/a/*"


def test_parameters_come_with_their_names() -> None:
    routes = Table([entry(0, "/teams/{team}/members/{member}", "/t/{team}/*")])
    match = routes.find(b"", b"/teams/a%2Fb/members/7", b"GET")
    assert (match.names, match.params, match.allowed) == (("team", "member"), [b"a%2Fb", b"7"], [])
    match = routes.find(b"", b"/t/x/y/z", b"GET")
    assert (match.names, match.params) == (("team",), [b"x"])


def test_hosts() -> None:
    routes = Table([
        entry(0, "/*", value="any"),
        entry(1, "/*", hosts=("*.example.com",), value="wild"),
        entry(2, "/*", hosts=("*.deep.example.com",), value="deeper"),
        entry(3, "/*", hosts=("Api.Example.com", "[::1]"), value="exact"),
        entry(4, "/*", hosts=("käse.example",), value="idna"),
    ])  # fmt: skip
    for host, expected in [
        (b"api.example.com", "exact"), (b"api.example.com.", "exact"), (b"[::1]", "exact"), (b"x.example.com", "wild"),
        (b"x.y.example.com", "wild"), (b"x.deep.example.com", "deeper"), (b"a.b.deep.example.com", "deeper"),
        (b"deep.example.com", "wild"), (b"example.com", "any"), (b"notexample.com", "any"), (b".example.com", "any"),
        (b"xn--kse-qla.example", "idna"), (b"", "any"), (b"." * 100_000 + b"example.com", "any"),
    ]:  # fmt: skip
        assert find(routes, b"/x", host=host) == expected, host


def test_a_host_that_has_not_the_path_leaves_it_to_the_next() -> None:
    routes = Table([
        entry(0, "/a", hosts=("x.example.com",), methods=("GET",), value="exact"),
        entry(1, "/a", hosts=("*.example.com",), methods=("POST",), value="wild"),
        entry(2, "/a", methods=("DELETE",), value="any"),
        entry(3, "/b", value="b"),
    ])  # fmt: skip
    for method, expected in [(b"GET", "exact"), (b"HEAD", "exact"), (b"POST", "wild"), (b"DELETE", "any")]:
        assert find(routes, b"/a", method, b"x.example.com") == expected
    assert find(routes, b"/b", host=b"x.example.com") == "b"
    assert routes.find(b"x.example.com", b"/a", b"PUT").allowed == [b"DELETE", b"GET", b"HEAD", b"POST"]
    assert routes.find(b"y.example.com", b"/a", b"GET").allowed == [b"DELETE", b"POST"]
    assert routes.find(b"other", b"/a", b"GET").allowed == [b"DELETE"]


def test_methods() -> None:
    routes = Table([
        entry(0, "/a", methods=("GET", "PUT"), value="first"),
        entry(1, "/a", methods=("GET", "POST"), value="second"),
        entry(2, "/*", methods=("DELETE",), value="rest"),
        entry(3, "/b", methods=("POST",), value="b"),
        entry(4, "/b", value="open"),
        entry(5, "/b", methods=("GET",), value="late"),
    ])  # fmt: skip
    for method, expected in [(b"GET", "first"), (b"HEAD", "first"), (b"POST", "second"), (b"DELETE", "rest")]:
        assert find(routes, b"/a", method) == expected
    match = routes.find(b"", b"/a", b"OPTIONS")
    assert (match.value, match.allowed) == (None, [b"DELETE", b"GET", b"HEAD", b"POST", b"PUT"])
    assert routes.find(b"", b"/c", b"get").allowed == [b"DELETE"]
    assert find(routes, b"/b", b"POST") == "b"
    assert find(routes, b"/b", b"GET") == "open"
    assert find(routes, b"/b", b"BREW") == "open"
    assert routes.find(b"", b"*", b"OPTIONS").allowed == []


def test_nothing_at_all() -> None:
    match = Table([]).find(b"example.com", b"/", b"GET")
    assert (match.value, match.names, match.params, match.allowed) == (None, (), [], [])


def test_very_long_paths_and_patterns() -> None:
    deep = "/a" * 3000
    routes = table(deep, "/a/*", "/{x}" * 300)
    assert find(routes, deep.encode()) == deep
    assert find(routes, (deep + "/b").encode()) == "/a/*"
    assert find(routes, b"/b" * 300) == "/{x}" * 300
    assert find(routes, b"/b" * 301) is None
    assert find(routes, b"/" * 8000) is None


# -- against a naive matcher

LABELS = ["a", "b", "c"]
PIECES = ["a", "b", "{x}", "{y}", "%61", "a%2fb"]
METHODS = ["GET", "POST", "HEAD", "PUT"]

paths = st.builds(
    lambda pieces, end: "/" + "/".join([*pieces, end] if end is not None else pieces),
    st.lists(st.sampled_from(PIECES), max_size=4),
    st.sampled_from([None, "", "*"]),
)
labels = st.sampled_from(LABELS)
hosts = st.one_of(st.just("*"), st.builds("{}.{}".format, labels, labels), st.builds("*.{}".format, labels),
                  st.builds("*.{}.{}".format, labels, labels))  # fmt: skip
entries = st.lists(
    st.tuples(
        st.lists(hosts, max_size=2),
        st.lists(paths, min_size=1, max_size=2),
        st.lists(st.sampled_from(METHODS), max_size=2, unique=True),
    ),
    max_size=12,
)
asked_paths = st.lists(st.sampled_from(["a", "b", "z", "", "a%2Fb"]), max_size=5).map(
    lambda parts: "/" + "/".join(parts)
)
asked_hosts = st.lists(labels, min_size=1, max_size=4).map(".".join)


def naive(
    spec: list[tuple[list[str], list[str], list[str]]], host: str, path: str, method: str
) -> tuple[int | None, list[bytes], list[bytes]]:
    """Try every pattern as a regular expression and sort what fits."""
    best = None
    allowed: set[str] = set()
    for index, (names, patterns, methods) in enumerate(spec):
        for name in names or ["*"]:
            for pattern in patterns:
                fits = re.fullmatch(expression(pattern), path)
                if not host_fits(name, host) or fits is None:
                    continue
                taken = {*methods, "HEAD"} if "GET" in methods else set(methods)
                if methods and method not in taken:
                    allowed |= taken
                    continue
                key = (host_rank(name), [rank(piece) for piece in pattern.split("/")[1:]], index)
                if best is None or key < best[0]:
                    best = (key, index, [group.encode() for group in fits.groups()])
    if best is None:
        return None, [], sorted(method.encode() for method in allowed)
    return best[1], best[2], []


def expression(pattern: str) -> str:
    text = "".join("/([^/]+)" if piece.startswith("{") else "/" + re.escape(literal(piece)) for piece in
                   pattern.removesuffix("/*").split("/")[1:])  # fmt: skip
    return text + "(?:/.*)?" if pattern.endswith("/*") else text


def literal(piece: str) -> str:
    return {"%61": "a", "a%2fb": "a%2Fb"}.get(piece, piece)


def rank(piece: str) -> int:
    return 2 if piece == "*" else 1 if piece.startswith("{") else 0


def host_fits(name: str, host: str) -> bool:
    return name in ("*", host) or (name.startswith("*.") and host.endswith(name[1:]))


def host_rank(name: str) -> tuple[int, int]:
    return (2, 0) if name == "*" else (1, -len(name)) if name.startswith("*.") else (0, 0)


@settings(max_examples=400, deadline=None)
@given(spec=entries, host=asked_hosts, path=asked_paths, method=st.sampled_from([*METHODS, "OPTIONS"]))
@example(spec=[([], ["/*"], [])], host="a", path="/", method="GET")
@example(spec=[([], ["/a/{x}/*"], ["GET"]), ([], ["/a/b"], ["POST"])], host="a", path="/a/b", method="HEAD")
def test_it_agrees_with_a_naive_matcher(
    spec: list[tuple[list[str], list[str], list[str]]], host: str, path: str, method: str
) -> None:
    routes = Table([Entry(tuple(h), tuple(p), tuple(m), index, index) for index, (h, p, m) in enumerate(spec)])
    if "//" in path:  # a path to be matched has none
        path = re.sub("/+", "/", path)
    match = routes.find(host.encode(), path.encode(), method.encode())
    assert (match.value, match.params, match.allowed) == naive(spec, host, path, method)


@settings(max_examples=200, deadline=None)
@given(spec=entries, host=asked_hosts, path=asked_paths)
def test_the_printed_order_is_the_order_of_trying(
    spec: list[tuple[list[str], list[str], list[str]]], host: str, path: str
) -> None:
    path = re.sub("/+", "/", path)
    rows = [(name, pattern, index) for index, (names, patterns, _) in enumerate(spec)
            for name in names or [""] for pattern in patterns]  # fmt: skip
    first = None
    for name, pattern, index in sorted(rows, key=lambda row: order_key(*row)):
        if host_fits(name or "*", host) and re.fullmatch(expression(pattern), path):
            first = index
            break
    routes = Table([Entry(tuple(h), tuple(p), (), index, index) for index, (h, p, _) in enumerate(spec)])
    assert routes.find(host.encode(), path.encode(), b"GET").value == first


def test_entries_may_come_in_any_order() -> None:
    made = [entry(index, "/a") for index in (2, 0, 1)]
    assert find(Table(made), b"/a") == 0


def test_the_cost_does_not_grow_with_the_number_of_routes() -> None:
    small, large = many(1), many(10_000)
    ratios = sorted(cost(large) / cost(small) for _ in range(9))
    assert ratios[4] < 3, ratios


def many(count: int) -> Table:
    return Table([numbered(index) for index in range(count)])


def numbered(index: int) -> Entry:
    path = f"/v1/service{index}/{{id}}/items"
    if index % 2 == 0:
        return entry(index, path)
    return entry(index, path, f"/{{tenant}}/service{index}/*", hosts=(f"h{index}.example.com", ""))


def cost(routes: Table) -> float:
    best = 1.0
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(200):
            found = routes.find(b"example.com", b"/v1/service0/7/items", b"GET")
        best = min(best, time.perf_counter() - begun)
    assert isinstance(found, Match)
    assert found.params == [b"7"]
    return best
