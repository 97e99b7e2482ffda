"""Mix a base corpus with ancient books, evenly along the file. With share 0 and no target it copies the base."""

import argparse

from minlm.scripts import cli


def build_parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "python -m minlm.scripts.mix", __doc__,
        "--base_train data/tinystories/train.txt --base_valid data/tinystories/valid.txt --share 0.4 "
        "--ancients_train data/ancients/train.txt --ancients_valid data/ancients/valid.txt "
        "--output_train data/corpus/train.txt --output_valid data/corpus/valid.txt",
    )  # fmt: skip
    parser.add_argument("--base_train", required=True, metavar="FILE", help="Training text of the base corpus")
    parser.add_argument("--base_valid", required=True, metavar="FILE", help="Validation text of the base corpus")
    parser.add_argument("--ancients_train", metavar="FILE", help="Training text of the ancient books")
    parser.add_argument("--ancients_valid", metavar="FILE", help="Validation text of the ancient books")
    cli.add_setting(parser, "ancients.share")
    cli.add_settings(parser, "corpus", "target_total_words", "seed")
    parser.add_argument("--output_train", required=True, metavar="FILE", help="Training text to write")
    parser.add_argument("--output_valid", required=True, metavar="FILE", help="Validation text to write")
    parser.add_argument("--output_record", metavar="FILE", help="JSON to write: words taken from each source")
    return parser


@cli.program(build_parser)
def main(arguments: argparse.Namespace) -> str:
    from minlm.corpus.mix import mix_corpora

    ancients = (arguments.ancients_train, arguments.ancients_valid)
    mix_corpora(
        base=(arguments.base_train, arguments.base_valid),
        ancients=None if None in ancients else ancients,
        outputs=(arguments.output_train, arguments.output_valid),
        share=arguments.share,
        target_total_words=arguments.target_total_words,
        seed=arguments.seed,
        record=arguments.output_record,
    )
    return f"wrote {arguments.output_train} and {arguments.output_valid}"


if __name__ == "__main__":
    main()
