"""Write docs/configuration.md from the configuration's schema."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    """Flags of the program."""
    parser = cli.make_parser(
        "config_reference",
        "Write the reference of all configuration keys (Markdown) from the schema.",
        "python -m minlm.scripts.config_reference --output docs/configuration.md",
    )
    schema = Path(__file__).parents[2] / "workflow/schemas/config.schema.yaml"
    parser.add_argument("--schema", default=schema, help="the JSON schema, as YAML")
    parser.add_argument("--output", required=True, help="the Markdown file to write")
    return parser


def _work(arguments: argparse.Namespace) -> None:
    from minlm.atomic import atomic_write
    from minlm.pipeline.config import load_schema, reference
    from minlm.progress import log

    with atomic_write(arguments.output) as handle:
        handle.write(reference(load_schema(arguments.schema)))
    log.info(f"config_reference: wrote {arguments.output}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    cli.run(build_parser(), _work, argv)


if __name__ == "__main__":
    main()
