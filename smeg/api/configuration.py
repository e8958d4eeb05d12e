"""Operations on the text of a configuration file: they need no daemon, read no file and change nothing."""

from __future__ import annotations

from fastapi import APIRouter, Response

from smeg.api import models as m
from smeg.api.answers import json
from smeg.cli.configuring import checked, usual
from smeg.config_text import commented

router = APIRouter()


@router.get("/configuration", response_model=m.Configuration)
def configuration() -> Response:
    """A configuration file of smeg-node with every key explained, all of it commented out."""
    return json({"configuration": commented(usual())})


@router.post("/configuration/check", response_model=m.Checked)
def check_configuration(asked: m.ConfigurationText) -> Response:
    """What a configuration file sets; every mistake of it; or what became of each key of the predecessor's."""
    return json(checked(asked.text, "text"))
