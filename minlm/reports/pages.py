"""Web pages from the templates in `templates/`: one file each, no network, readable on a phone, light or dark."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from minlm.atomic import atomic_write

_environment = Environment(
    loader=PackageLoader("minlm.reports"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def write_page(path: str | Path, template: str, **values: Any) -> None:
    """Write a page.

    Args:
        path: file to write.
        template: name of a file in `templates/`.
        values: what the template refers to; it escapes all of them.
    """
    text = _environment.get_template(template).render(values)
    with atomic_write(path) as file:
        file.write(text)
