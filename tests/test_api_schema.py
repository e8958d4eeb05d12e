"""Schemathesis asks a real daemon through the API whatever its description allows, and what it does not allow.

No answer may be a failure of the service, and each has to be as described: status, type and form. Operations whose
effects would end the test, or that never end, have tests of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS as REGISTERED
from schemathesis.core.result import Ok

from smeg.api.app import make_app
from smeg.api.daemon import Daemon
from tests.api_service import Service, api_service
from tests.loopback import end_at_last

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
EXAMPLES = 15
"""requests of each kind and operation."""
ELSEWHERE = {"stream", "leave_mesh", "ping"}
BY_MEANING = {"check_configuration", "invite", "join_mesh", "old_join", "put_description", "query", "set_service"}
"""Operations that take a language of its own, of which a schema cannot say what makes sense."""

DESCRIBED = schemathesis.openapi.from_dict(make_app(Daemon(Path("/nowhere"))).openapi())
CHECKS = {check.__name__: check for check in REGISTERED.get_all()}
OPERATIONS = {
    operation.definition.raw["operationId"]: operation
    for operation in (result.ok() for result in DESCRIBED.get_all_operations() if isinstance(result, Ok))
    if operation.definition.raw["operationId"] not in ELSEWHERE
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("schema")
    with end_at_last() as make:
        daemon = make(folder / "d0")
        daemon.start()
        daemon.ask("new-mesh", name="paris")
        with api_service(folder / "api", daemon.socket) as service:
            yield service


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["meant", "not meant"])
@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_answer_is_as_described(name: str, mode: GenerationMode, api: Service) -> None:
    operation = OPERATIONS[name]
    # Who tries so many wrong tokens gets another answer; and there is a limit to what a schema can say.
    excluded = [CHECKS["ignored_auth"], *([CHECKS["positive_data_acceptance"]] if name in BY_MEANING else [])]

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True,
              database=None)  # fmt: skip
    @given(st.data())
    def asked(data: st.DataObject) -> None:
        case: Any = data.draw(operation.as_strategy(generation_mode=mode))
        token = {"Authorization": f"Bearer {api.token}"}
        case.call_and_validate(base_url=api.url, headers=token, excluded_checks=excluded)

    asked()
