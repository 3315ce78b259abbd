"""Files that can't be read as YAML, each with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from portico.config import FileSource, load_file
from portico.config.source import MAX_BYTES
from portico.errors import ConfigError


def refusal(raw: bytes) -> str:
    Path("portico.yaml").write_bytes(raw)
    with pytest.raises(ConfigError) as caught:
        load_file("portico.yaml", env={})
    return str(caught.value)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_version_follows_the_text() -> None:
    path = Path("portico.yaml")
    path.write_text("{}")
    first = FileSource(path).read()
    path.write_text("{} ")
    assert FileSource(path).read().version != first.version
    path.write_text("{}")
    assert FileSource(path).read() == first


def test_byte_order_mark_is_no_text() -> None:
    Path("portico.yaml").write_bytes(b"\xef\xbb\xbfserver: {port: 1}")
    assert load_file("portico.yaml", env={}).server.port == 1


def test_missing() -> None:
    with pytest.raises(ConfigError, match=r"^nowhere.yaml:1: \(file\): there is no such file$"):
        load_file("nowhere.yaml", env={})


def test_a_folder() -> None:
    Path("folder").mkdir()
    with pytest.raises(ConfigError, match=r"can't be read: Is a directory"):
        load_file("folder", env={})


def test_too_large() -> None:
    assert refusal(b"#" * (MAX_BYTES + 1)) == "portico.yaml:1: (file): is larger than 16 MiB, the most that is read"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "1: (file): is empty; write {} to run on the defaults"),
        (b"# nothing\n", "1: (file): is empty; write {} to run on the defaults"),
        (b"--- null\n", "1: (file): has no settings; write {} to run on the defaults"),
        (b"\n- a\n", "2: (file): must be a mapping such as `server: …`, not a list"),
        (b"text\n", "1: (file): must be a mapping such as `server: …`, not a single value"),
        (b"log:\n  level: info\nserver:\n\tport: 1\n", "4: (file): is indented with a tab; YAML wants spaces"),
        (b"a: 1\nb: \xff\n", "2: (file): is not UTF-8 text; save the file as UTF-8"),
        (b"a: 1\nb: \x07\n", "2: (file): has a control character, which YAML does not allow"),
        (b"{}\n---\n{}\n", "2: (file): a second YAML document begins here; there may be only one"),
        (b"server: !!python/name:os.system\n", "1: (file): YAML tags (!…) are not used here; write the plain value"),
        (b"? [a]\n: 1\n", "1: (file): a key must be a single word or text, not a list or mapping"),
        (b"a: *gone\n", "1: (file): an alias (*…) must name an anchor (&…) that was completed before it"),
        (b"a: &a {b: *a}\n", "1: (file): an alias (*…) must name an anchor (&…) that was completed before it"),
        (b"a: {<<: 1}\n", "1: (file): << merges a mapping or a list of mappings, nothing else"),
        (b"[" * 100_000, "1: (file): is nested more than 64 levels deep"),
    ],
)
def test_what_is_no_configuration(raw: bytes, message: str) -> None:
    assert refusal(raw) == f"portico.yaml:{message}"


def test_syntax_errors_say_the_line() -> None:
    assert refusal(b"log: {}\nserver: {port: 1\nplugins: {}\n").startswith("portico.yaml:3: (file): is not YAML: ")


def test_unquoted_substitution_in_braces_is_explained() -> None:
    assert refusal(b"server: {port: ${PORT}}\n").endswith("; inside {…} and […], put ${…} in quotes")


def test_laughs_are_bounded() -> None:
    levels = [b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"]
    levels += [b"a%d: &a%d [%s]\n" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 10)) for i in range(1, 10)]
    assert "aliases make more than 1000000 values" in refusal(b"".join(levels))


def test_merges_are_bounded() -> None:
    base = b"a: &a {" + b", ".join(b"k%d: 1" % i for i in range(2000)) + b"}\n"
    assert "merges more than 1000000 keys" in refusal(base + b"b: {<<: [" + b", ".join([b"*a"] * 1000) + b"]}\n")


def test_keys_given_twice() -> None:
    raw = b"log:\n  level: info\n  format: json\n  level: error\nserver: {}\nserver: {}\n"
    assert refusal(raw).splitlines() == [
        "portico.yaml:2: log.level: is given twice, in line 2 and in line 4; keep one",
        "portico.yaml:5: server: is given twice, in line 5 and in line 6; keep one",
    ]


def test_anchors_and_merges() -> None:
    Path("portico.yaml").write_text(
        "upstreams:\n"
        "  a: &base {targets: ['http://127.0.0.1:1'], timeouts: {connect: 1s}}\n"
        "  b: {<<: *base, targets: ['http://127.0.0.1:2']}\n"
        "  c: *base\n"
    )
    upstreams = load_file("portico.yaml", env={}).upstreams
    assert [upstreams[name].targets[0].url for name in "abc"] == [f"http://127.0.0.1:{port}" for port in (1, 2, 1)]
    assert {upstream.timeouts.connect for upstream in upstreams.values()} == {1.0}
