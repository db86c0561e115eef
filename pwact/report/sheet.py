"""A template of this folder becomes one page that needs nothing else, and may not ask for anything."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from pwact.report import numbers


def render(template: str, css: str, **values: Any) -> str:
    """A whole page: values are escaped, and the style sheet is the only thing that its policy lets in.

    Args:
        template: its file's name.
        css: the style sheet.
        **values: what the template calls by name; one that is missing is an error.

    Returns:
        HTML text.
    """
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(resource),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": numbers.number,
        "tick": numbers.tick,
        "percent": numbers.percent,
        "p_value": numbers.p_value,
        "rule": numbers.pretty_rule,
        "flatten": numbers.flatten,
        "interval": numbers.interval,
        "plain": numbers.plain,
    }
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return environment.get_template(template).render(
        css=Markup(css),
        csp="default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src 'sha256-{digest}'",
        **values,
    )


def resource(name: str) -> str:
    """The text of a file of this folder."""
    return resources.files("pwact.report").joinpath(name).read_text(encoding="utf-8")
