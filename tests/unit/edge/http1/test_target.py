"""Paths, hosts and targets; more cases are in the conformance corpus."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.edge.http1.errors import HeadError
from portico.edge.http1.target import TARGET, check, normalise, read_host, same_authority

RFC_3986 = [  # section 5.2.4 and what follows from it
    (b"/a/b/c/./../../g", b"/a/g"),
    (b"/mid/content=5/../6", b"/mid/6"),
    (b"/", b"/"),
    (b"/.", b"/"),
    (b"/..", b"/"),
    (b"/./", b"/"),
    (b"/../", b"/"),
    (b"/a/..", b"/"),
    (b"/a/../", b"/"),
    (b"/a/b/..", b"/a/"),
    (b"/a/../../../b", b"/b"),
    (b"/a/.../b", b"/a/.../b"),
    (b"/a./.b/..c", b"/a./.b/..c"),
    (b"/a//..", b"/a/"),
    (b"//..", b"/"),
]


@pytest.mark.parametrize(("path", "resolved"), RFC_3986)
def test_dot_segments(path: bytes, resolved: bytes) -> None:
    assert normalise(path) == (resolved, resolved)


@pytest.mark.parametrize(("path", "resolved"), RFC_3986)
@pytest.mark.parametrize("dot", [b"%2e", b"%2E"])
def test_encoded_dot_segments(path: bytes, resolved: bytes, dot: bytes) -> None:
    assert normalise(path.replace(b".", dot))[1] == resolved


def naive(path: bytes) -> bytes:
    """RFC 3986 section 5.2.4, word by word."""
    output = b""
    while path:
        if path.startswith(b"/./"):
            path = path[2:]
        elif path == b"/.":
            path = b"/"
        elif path.startswith(b"/../"):
            path, output = path[3:], output[: max(output.rfind(b"/"), 0)]
        elif path == b"/..":
            path, output = b"/", output[: max(output.rfind(b"/"), 0)]
        else:
            end = path.find(b"/", 1)
            end = len(path) if end < 0 else end
            output, path = output + path[:end], path[end:]
    return output


@given(st.text(alphabet="/.a", max_size=16).map(lambda text: b"/" + text.encode()))
def test_resolves_as_the_rfc_does(path: bytes) -> None:
    assert normalise(path)[0] == naive(path)


pieces = st.sampled_from([b"/", b".", b"a", b"%2e", b"%2E", b"%2f", b"%25", b"%41", b";", b"%5c", b"%252e", b"%c3"])


@given(st.lists(pieces, max_size=12).map(lambda parts: b"/" + b"".join(parts)))
def test_nothing_that_looks_like_a_dot_segment_is_left(path: bytes) -> None:
    try:
        forward, match = normalise(path)
    except HeadError:
        return
    assert normalise(forward) == (forward, match)
    assert forward.startswith(b"/")
    assert b"//" not in match
    for form in (forward.lower().replace(b"%2e", b".").replace(b"%2f", b"/"), match.replace(b"%2F", b"/")):
        assert not {b".", b".."} & {part.partition(b";")[0] for part in form.replace(b"\\", b"/").split(b"/")}


@pytest.mark.parametrize("byte", range(256))
def test_percent_decoding(byte: int) -> None:
    path = b"/a%%%02xb" % byte
    if byte < 32 or byte == 127:
        with pytest.raises(HeadError):
            normalise(path)
    else:
        plain = b"%2F" if byte == ord("/") else bytes((byte,))
        assert normalise(path) == (path, b"/a" + plain + b"b")


@pytest.mark.parametrize("path", [b"/%", b"/%1", b"/%g1", b"/%1g", b"/%%41", b"/% 1", b"/%+1", b"/a%2/b", b"/%zz/.."])
def test_bad_percent_encoding(path: bytes) -> None:
    with pytest.raises(HeadError) as caught:
        normalise(path)
    assert (caught.value.status, caught.value.code) == (400, "bad_target")


def test_decoded_only_once() -> None:
    assert normalise(b"/%252e%252e/%2541") == (b"/%252e%252e/%2541", b"/%2e%2e/%41")


@pytest.mark.parametrize("byte", range(256))
def test_allowed_bytes(byte: int) -> None:
    target = b"/a" + bytes((byte,))
    if 0x20 < byte < 0x7F and byte not in b'#"<>':
        check(target)
    else:
        with pytest.raises(HeadError):
            check(target)
    assert (byte in TARGET) == (0x20 < byte < 0x7F and byte not in b'#"<>')


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        (b"a", b"a"),
        (b"A.B-c_d~1", b"a.b-c_d~1"),
        (b"a:0", b"a"),
        (b"a:65535", b"a"),
        (b"a.", b"a"),
        (b"a.:80", b"a"),
        (b"1.2.3.4:80", b"1.2.3.4"),
        (b"[::]", b"[::]"),
        (b"[::FFFF:1.2.3.4]:1", b"[::ffff:1.2.3.4]"),
    ],
)
def test_hosts(authority: bytes, host: bytes) -> None:
    assert read_host(authority) == host


@pytest.mark.parametrize(
    "authority",
    [
        *(b"", b".", b":", b":80", b"a:+1", b"a:-1", b"a: 1", b"a:1_0", b"a:000080", b"[", b"[]", b"[]:1", b"[a]"),
        *(b"[::1]:x", b"[::1]1", b"[1.2.3.4]", b"[v1.a]", b"[::1%lo]", b".a", b"a..", b"a\\b", b"a?b", b"a#b", b"*"),
        *(b"a,b", b"[::1].", b"a.:b", b"\xff"),
    ],
)
def test_no_hosts(authority: bytes) -> None:
    with pytest.raises(HeadError) as caught:
        read_host(authority)
    assert (caught.value.status, caught.value.code) == (400, "bad_host")


@pytest.mark.parametrize(
    ("one", "other", "port", "same"),
    [
        (b"a", b"A", b"80", True),
        (b"a:80", b"a", b"80", True),
        (b"a:", b"a:80", b"80", True),
        (b"a:080", b"a", b"80", True),
        (b"a.", b"a", b"80", True),
        (b"a", b"a:443", b"443", True),
        (b"a", b"a:443", b"80", False),
        (b"a", b"b", b"80", False),
        (b"[::1]", b"[::1]:80", b"80", True),
        (b"[::1]:81", b"[::1]", b"80", False),
        (b"a:0", b"a", b"80", False),
    ],
)
def test_agreement(one: bytes, other: bytes, port: bytes, same: bool) -> None:
    assert same_authority(one, other, port) is same
    assert same_authority(other, one, port) is same
