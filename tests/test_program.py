"""The program that is started: what its process has loaded when it works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.loopback import end_at_last, form_mesh


def test_a_daemon_works_without_openssl(tmp_path: Path) -> None:
    with end_at_last() as make:
        daemon = make(tmp_path / "n1")
        daemon.start()
        form_mesh("home", daemon)
        assert daemon.process is not None
        maps = Path(f"/proc/{daemon.process.pid}/maps").read_text()
        assert "libsodium" in maps
        assert "libcrypto" not in maps


TWICE = """
import gc
from collections import Counter
from actors.daemon import be_frugal
from smeg.verdicts import Claim, Kind
from smeg.keys import NodeKey

def twice():
    made = [each for each in gc.get_objects() if isinstance(each, type) and str(each.__module__).startswith("smeg.")]
    return sum(count > 1 for count in Counter((each.__module__, each.__qualname__) for each in made).values())

be_frugal()
gc.unfreeze()
gc.collect()
claim = Claim(NodeKey(bytes(32)), 0, 0, Kind.GONE)
try:
    claim.epoch = 1
except AttributeError as error:
    print(twice(), error)
"""


def test_a_daemon_has_each_class_once_and_what_is_frozen_stays_so() -> None:
    told = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout == "0 cannot assign to field 'epoch'\n"
