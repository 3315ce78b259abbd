"""Finding plugins by their entry points: distributions are really installed into a directory on the path."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from portico.errors import PluginError
from portico.kernel import discovery
from portico.kernel.discovery import DEFAULT, Found, available, import_object, instantiate, load, resolve

GOOD = """
from portico.kernel.plugin import BasePlugin, PluginInfo, PluginType

class Good(BasePlugin[dict]):
    info = PluginInfo("good", PluginType.BUSINESS)

class Other(BasePlugin[dict]):
    info = PluginInfo("other", PluginType.BUSINESS)

class NoInfo(BasePlugin[dict]):
    pass

class Unmade(BasePlugin[dict]):
    info = PluginInfo("unmade", PluginType.BUSINESS)
    def __init__(self, config):
        raise ValueError("no luck")

class Alien:
    info = PluginInfo("good", PluginType.BUSINESS)
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "kd_good.py").write_text(GOOD)
    (tmp_path / "kd_broken.py").write_text("import nothing_of_this_name\n")
    for name in ("kd_good", "kd_broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def distribute(site: Path, name: str, **points: str) -> None:
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = "\n".join(f"{key} = {value}" for key, value in points.items())
    (info / "entry_points.txt").write_text(f"[portico.plugins]\n{lines}\n")


def test_the_default_set_is_installed_and_loads() -> None:
    found = resolve(DEFAULT)
    assert [each.id for each in found] == list(DEFAULT)
    assert {each.distribution for each in found} == {"portico"}
    for each in found:
        assert instantiate(each.id, each.factory, {}).info.id == each.id


def test_finds_without_importing_and_imports_only_what_is_asked_for(site: Path) -> None:
    distribute(site, "kd", good="kd_good:Good", broken="kd_broken:Plugin")
    installed = available()
    assert installed["good"] == Found("good", "kd_good:Good", "kd")
    assert "kd_good" not in sys.modules
    found = resolve(["good"], installed)[0]
    plugin = instantiate(found.id, found.factory, {"a": 1})
    assert plugin.info.id == "good"
    assert plugin.config == {"a": 1}
    assert "kd_broken" not in sys.modules


def test_a_plugin_that_is_not_installed_is_named_with_the_nearest() -> None:
    with pytest.raises(PluginError, match=r"^plugin 'limit' is not installed; did you mean 'limits'\?$"):
        resolve(["limit"])
    with pytest.raises(PluginError, match=r"^plugin 'zzz' is not installed; installed are access, admin, api_keys, "):
        resolve(["zzz"])
    with pytest.raises(PluginError, match=r"installed are none$"):
        resolve(["zzz"], {})


def test_two_distributions_with_one_id_are_both_named(site: Path) -> None:
    distribute(site, "kd_one", good="kd_good:Good")
    distribute(site, "kd_two", good="kd_good:Other")
    with pytest.raises(PluginError, match=r"plugin 'good' comes from two distributions: kd_(one|two) and kd_(one|two)"):
        available()


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("kd_broken:Plugin", "{} can't be imported: ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("kd_good:Nope", "{} can't be imported: AttributeError: module 'kd_good' has no attribute 'Nope'"),
        ("kd_good", "'{}' is not of the form \"module:name\""),
        (":Good", "'{}' is not of the form \"module:name\""),
        ("kd_good:Alien", "{} is not a subclass of portico.kernel.plugin.BasePlugin"),
        ("kd_good:GOOD", "{} can't be imported: AttributeError: module 'kd_good' has no attribute 'GOOD'"),
        ("kd_good:NoInfo", "{} has no `info` of type PluginInfo"),
        ("kd_good:Other", "{} says that its id is 'other'"),
    ],
)
def test_a_broken_plugin_is_named_with_its_cause(site: Path, factory: str, message: str) -> None:
    with pytest.raises(PluginError) as caught:
        load("good", factory)
    assert str(caught.value) == "plugin 'good': " + message.format(factory)


def test_a_constructor_that_fails_is_named(site: Path) -> None:
    with pytest.raises(PluginError, match=r"^plugin 'unmade' can't be made: ValueError: no luck$"):
        instantiate("unmade", "kd_good:Unmade", {})


def test_import_object_follows_attributes() -> None:
    assert import_object("portico.kernel.discovery:Found.__name__", "test") == "Found"


def test_importing_discovery_loads_no_metadata_library() -> None:
    code = textwrap.dedent("""
        import sys
        from portico.kernel import discovery
        discovery.instantiate("access", "portico.edge.plugin:Access", {})
        print("importlib.metadata" in sys.modules)
    """)
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True,
                          env={"PYTHONPATH": str(Path(discovery.__file__).parents[2])})  # fmt: skip
    assert done.stdout.strip() == "False"
