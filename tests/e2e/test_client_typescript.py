"""clients/typescript: its own tests, run by node against a real gateway; and what a user of the package gets."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.api import Api, running
from tests.e2e.node import built, installed, run
from tests.e2e.walkthrough import ROOT

CLIENT = "clients/typescript"


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with running("sqlite", {"outbound": {"allow": ["127.0.0.1/32"]}}) as found:
        yield found


def test_its_own_tests_pass_against_a_gateway(api: Api) -> None:
    folder = installed(CLIENT)
    shutil.rmtree(folder / "build", ignore_errors=True)
    output = run(folder, "npm", "test", PORTICO_URL=api.gateway.url, PORTICO_ADMIN_KEY=api.admin, NO_COLOR="1")
    passed, failed = (int(re.findall(rf"^\S+ {word} (\d+)$", output, re.MULTILINE)[-1]) for word in ("pass", "fail"))
    assert failed == 0
    assert passed >= 20, output


def test_the_package_needs_nothing_and_names_no_address() -> None:
    package = json.loads((ROOT / CLIENT / "package.json").read_text())
    assert "dependencies" not in package
    lock = json.loads((ROOT / CLIENT / "package-lock.json").read_text())
    assert not [name for name, each in lock["packages"].items() if "resolved" in each]
    assert all(each.get("dev") for name, each in lock["packages"].items() if name)


@pytest.mark.long
def test_what_is_packed_works_and_has_types(tmp_path: Path) -> None:
    folder = built(CLIENT)
    (packed,) = json.loads(run(folder, "npm", "pack", "--json", "--pack-destination", str(tmp_path)))
    names = {each["path"] for each in packed["files"]}
    assert {"dist/index.js", "dist/index.d.ts", "LICENSE", "README.md", "package.json"} <= names
    assert not [name for name in names if name.startswith(("test/", "node_modules/", "build/"))]
    unpacked = tmp_path / "node_modules" / "@portico" / "client"
    unpacked.mkdir(parents=True)
    run(tmp_path, "tar", "-xzf", packed["filename"], "-C", str(unpacked), "--strip-components=1")
    (tmp_path / "use.mjs").write_text(
        'import { Portico, verifyWebhook } from "@portico/client";\n'
        "console.log(typeof new Portico().detect, typeof verifyWebhook);\n"
    )
    assert run(tmp_path, "node", "use.mjs").strip() == "function function"
