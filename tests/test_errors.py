"""Errors of both families are whole wherever they arrive."""

from __future__ import annotations

import pickle

import pytest

from smeg.errors import LocalError, RemoteError, SmegError


@pytest.mark.parametrize("family", [LocalError, RemoteError])
def test_an_error_is_the_same_in_another_process(family: type[SmegError]) -> None:
    error = family("disk-full", "cannot write state.db", "free some space")
    there = pickle.loads(pickle.dumps(error))
    assert (type(there), there.problem) == (family, error.problem)
    assert str(there) == "cannot write state.db (free some space)"
