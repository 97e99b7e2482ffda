"""Write the reference of all settings (Markdown) from the schema of the configuration."""

import argparse

from minlm.pipeline.settings import SCHEMA
from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser("python -m minlm.scripts.config_reference", __doc__, "--output docs/configuration.md")
    parser.add_argument("--schema", default=SCHEMA, metavar="FILE", help="JSON Schema, as YAML")
    parser.add_argument("--output", required=True, metavar="FILE", help="Markdown to write")
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> str:
    from minlm.atomic import atomic_write
    from minlm.pipeline.config import reference
    from minlm.pipeline.settings import load_schema

    with atomic_write(arguments.output) as handle:
        handle.write(reference(load_schema(arguments.schema)))
    return f"wrote {arguments.output}"


if __name__ == "__main__":
    main()
