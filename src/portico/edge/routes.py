"""Which route a request takes: a trie of path segments for every host, in the precedence of the route table.

Precedence: exact host, then wildcard host (`*.example.com`, one or more labels, the longest suffix first), then any
host; then segment by segment a literal before `{param}` before `*`; then the order of the file. The best entry that
agrees with host, path and method wins.

- A literal is compared with the segment's decoded bytes (RFC 3986 6.2.2.2); `%2F` stays encoded, so it never separates.
- `{param}` stands for one segment that is not empty.
- `*` comes last and stands for any remainder, also an empty one: `/users/*` takes `/users/7`, `/users/` and `/users`.
  An exact `/users` beats it.
- A route that takes GET takes HEAD as well (RFC 9110 9.3.2).

A look-up costs one dictionary access a segment. Where a literal and a `{param}` both fit, the second is tried only if
the first leads nowhere; how many routes there are beside them does not matter.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote_to_bytes

from portico.contracts import Route

LITERAL: Final = 0
PARAM: Final = 1
REST: Final = 2
MAX_HOST: Final = 255  # longer ones are no DNS names (RFC 1035 2.3.4) and meet only routes for any host


class Entry:
    """One route to be found: no `hosts` are any host, no `methods` any method; `value` is handed back as it is."""

    def __init__(
        self, hosts: tuple[str, ...], paths: tuple[str, ...], methods: tuple[str, ...], index: int, value: Any
    ) -> None:
        self.hosts = hosts
        self.paths = paths
        self.methods = methods
        self.index = index
        self.value = value


class Match:
    """What was found. It may be shared between look-ups: read it only.

    `value` is None when nothing was; then `allowed` names, sorted, the methods that the path would take (405), or is
    empty (404). `params` are the decoded segments that stand for `names`, in the order of the path.
    """

    def __init__(self, value: Any, names: tuple[str, ...], params: list[bytes], allowed: list[bytes]) -> None:
        self.value = value
        self.names = names
        self.params = params
        self.allowed = allowed


class _Leaf:
    """One path of one entry: where its parameters are, and the ready match when it has none."""

    def __init__(self, entry: Entry, names: tuple[str, ...], slots: list[int]) -> None:
        self.entry = entry
        self.names = names
        self.slots = slots
        self.plain = Match(entry.value, names, [], [])

    def match(self, segments: list[bytes]) -> Match:
        if not self.slots:
            return self.plain
        return Match(self.entry.value, self.names, [segments[slot] for slot in self.slots], [])


class _Methods:
    """The leaves of one pattern by method; `any` takes every method that no earlier entry has taken."""

    def __init__(self) -> None:
        self.leaves: dict[bytes, _Leaf] = {}
        self.any: _Leaf | None = None

    def add(self, leaf: _Leaf) -> None:
        """Add a leaf whose entry comes later in the file than all that were added."""
        if self.any is not None:
            return
        if not leaf.entry.methods:
            self.any = leaf
            return
        for method in leaf.entry.methods:
            self.leaves.setdefault(method.encode(), leaf)
        if "GET" in leaf.entry.methods:
            self.leaves.setdefault(b"HEAD", leaf)


class _Node:
    """A place in the trie: what ends here, what goes on by a literal or a parameter, and what takes any remainder."""

    def __init__(self) -> None:
        self.literals: dict[bytes, _Node] = {}
        self.param: _Node | None = None
        self.end: _Methods | None = None
        self.rest: _Methods | None = None


class _Trie:
    """The paths of one host."""

    def __init__(self) -> None:
        self.root = _Node()
        self.depth = 1

    def add(self, entry: Entry, path: str) -> None:
        """Add one path; entries come in the order of the file."""
        node = self.root
        names: list[str] = []
        slots: list[int] = []
        segments = _segments(path)
        self.depth = max(self.depth, len(segments))
        for place, (kind, text) in enumerate(segments, 1):
            if kind == REST:
                node.rest = node.rest or _Methods()
                node.rest.add(_Leaf(entry, tuple(names), slots))
                return
            if kind == PARAM:
                names.append(text.decode())
                slots.append(place)
                node.param = node.param or _Node()
                node = node.param
            else:
                node = node.literals.setdefault(text, _Node())
        node.end = node.end or _Methods()
        node.end.add(_Leaf(entry, tuple(names), slots))

    def find(self, path: bytes, method: bytes, seen: list[_Methods]) -> Match | None:
        """The best match, or None; then the methods of every pattern that the path fits are added to `seen`."""
        # What lies beyond the deepest pattern can only be a remainder and stays in one piece.
        segments = path.split(b"/", self.depth + 1)
        count = len(segments)
        nodes = [self.root]
        places = [1]  # the next segment of each; 0 where the node's remainder is to be tried
        while nodes:
            node = nodes.pop()
            place = places.pop()
            if place == 0:
                leaf = _choose(node.rest, method, seen)
                if leaf is not None:
                    return leaf.match(segments)
                continue
            while True:
                if node.rest is not None:
                    nodes.append(node)
                    places.append(0)
                if place == count:
                    leaf = _choose(node.end, method, seen)
                    if leaf is not None:
                        return leaf.match(segments)
                    break
                segment = segments[place]
                place += 1
                following = node.literals.get(segment)
                if node.param is not None and segment:
                    if following is None:
                        following = node.param
                    else:
                        nodes.append(node.param)
                        places.append(place)
                if following is None:
                    break
                node = following
        return None


class Table:
    """All routes of a snapshot; immutable once made."""

    def __init__(self, entries: list[Entry]) -> None:
        self._exact: dict[bytes, _Trie] = {}
        self._wild: dict[bytes, _Trie] = {}
        self._any = _Trie()
        self._nothing = Match(None, (), [], [])
        for entry in sorted(entries, key=_by_index):
            for trie in [self._trie(host) for host in entry.hosts] or [self._any]:
                for path in entry.paths:
                    trie.add(entry, path)

    def find(self, host: bytes, path: bytes, method: bytes) -> Match:
        """The best route.

        `host` is in lower case and without a port, `path` percent-decoded but for `%2F`, with runs of slashes as one. A
        path that does not begin with a slash (`*`) is nobody's.
        """
        if not path.startswith(b"/"):
            return self._nothing
        seen: list[_Methods] = []
        if self._exact or self._wild:
            match = self._find_host(host, path, method, seen)
            if match is not None:
                return match
        match = self._any.find(path, method, seen)
        if match is not None:
            return match
        if not seen:
            return self._nothing
        return Match(None, (), [], _allowed(seen))

    def _find_host(self, host: bytes, path: bytes, method: bytes, seen: list[_Methods]) -> Match | None:
        if len(host) > MAX_HOST:
            return None
        if host.endswith(b"."):
            host = host[:-1]
        trie = self._exact.get(host)
        match = trie.find(path, method, seen) if trie is not None else None
        if match is not None or not self._wild:
            return match
        dot = host.find(b".")
        while dot > 0:
            trie = self._wild.get(host[dot:])
            match = trie.find(path, method, seen) if trie is not None else None
            if match is not None:
                return match
            dot = host.find(b".", dot + 1)
        return None

    def _trie(self, host: str) -> _Trie:
        name = _host(host)
        if name in (b"", b"*"):
            return self._any
        if name.startswith(b"*."):
            return self._wild.setdefault(name[1:], _Trie())
        return self._exact.setdefault(name, _Trie())


def methods_of(route: Route) -> tuple[str, ...]:
    """The methods that lead to a route; with CORS also OPTIONS, which its policy answers (a preflight, or 405)."""
    for policy in route.policies:
        if policy.id == "cors" and route.methods:
            return (*route.methods, "OPTIONS")
    return route.methods


def order_key(host: str, path: str, index: int) -> tuple[Any, ...]:
    """Sorts route patterns into the order in which they are tried; `host` is "" for any."""
    name = _host(host)
    if name in (b"", b"*"):
        place: tuple[int, int, bytes] = (2, 0, b"")
    elif name.startswith(b"*."):
        place = (1, -len(name), name)
    else:
        place = (0, 0, name)
    # A parameter's name does not tell patterns apart.
    segments = tuple((kind, text if kind == LITERAL else b"") for kind, text in _segments(path))
    return (*place, segments, index)


def _choose(methods: _Methods | None, method: bytes, seen: list[_Methods]) -> _Leaf | None:
    if methods is None:
        return None
    leaf = methods.leaves.get(method)
    if leaf is None:
        leaf = methods.any
        if leaf is None:
            seen.append(methods)
    return leaf


def _allowed(seen: list[_Methods]) -> list[bytes]:
    allowed: set[bytes] = set()
    for methods in seen:
        allowed.update(methods.leaves)
    return sorted(allowed)


def _by_index(entry: Entry) -> int:
    return entry.index


def _host(host: str) -> bytes:
    return host.lower().rstrip(".").encode("idna" if not host.isascii() else "ascii")


def _segments(path: str) -> list[tuple[int, bytes]]:
    """The pattern's segments as kind and text: decoded for a literal, the name for a parameter."""
    parts = [part for part in path.split("/")[1:-1] if part] + path.split("/")[-1:]
    segments: list[tuple[int, bytes]] = []
    for place, part in enumerate(parts):
        if part == "*" and place == len(parts) - 1:
            segments.append((REST, b""))
        elif len(part) > 2 and part.startswith("{") and part.endswith("}"):
            segments.append((PARAM, part[1:-1].encode()))
        else:
            segments.append((LITERAL, _decoded(part)))
    return segments


def _decoded(literal: str) -> bytes:
    """The literal as paths are matched: percent-decoded once, but for `%2F`."""
    kept = literal.replace("%2f", "%252F").replace("%2F", "%252F")
    return unquote_to_bytes(kept)
