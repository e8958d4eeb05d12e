"""The units for systemd are what systemd understands, and give up what the programs do not need."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.loopback import PROGRAMS

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
UNITS = ("smeg-node", "smeg-api")
MOST = {"smeg-node": 5.0, "smeg-api": 2.5}
"""How exposed systemd may call each, from 0 to 10."""

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, Path]:
    """The units, with the programs of this environment."""
    files = {unit: tmp_path / f"{unit}.service" for unit in UNITS}
    for unit, file in files.items():
        text = (EXAMPLES / file.name).read_text()
        assert f"ExecStart=/opt/smegmesh/bin/{unit} " in text
        file.write_text(text.replace("/opt/smegmesh/bin", str(PROGRAMS)))
    return files


def analyze(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *argv], capture_output=True, text=True, timeout=300, check=False)


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_units(installed: dict[str, Path]) -> None:
    done = analyze("verify", *map(str, installed.values()))
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if "smeg-" in line]


@needs_systemd
@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_leaves_the_program_little(unit: str, installed: dict[str, Path]) -> None:
    done = analyze("security", "--offline=true", "--no-pager", str(installed[unit]))
    found = re.search(r"exposure level for .*: ([0-9.]+)", done.stdout)
    if found is None:
        pytest.skip("this systemd-analyze looks at loaded units only")
    assert float(found[1]) <= MOST[unit]
