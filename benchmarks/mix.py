"""Mixing 2.2 GB of short stories with ancient books: MB/s and peak memory of `python -m minlm.scripts.mix`.

It makes its own input: documents of about 160 words cut from the sample corpus, a third of them with the curly quotes
and dashes of the real TinyStories, and 10 MB of longer ones as the books.

    python benchmarks/mix.py --folder /tmp/mix
"""

import argparse
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

from minlm.corpus.bible import sample_chapters
from minlm.documents import SEPARATOR


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="for 4.5 GB of input and output; input is kept")
    parser.add_argument("--megabytes", type=int, default=2200, help="of the base corpus")
    parser.add_argument("--share", type=float, default=0.4)
    arguments = parser.parse_args()
    files = make_input(arguments.folder, arguments.megabytes * 1_000_000)
    size = sum(file.stat().st_size for file in files.values())
    outputs = {split: arguments.folder / f"mixed_{split}.txt" for split in ("train", "valid")}

    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "minlm.scripts.mix", "--share", str(arguments.share),
         *(part for name, file in files.items() for part in (f"--{name}", file)),
         *(part for split, file in outputs.items() for part in (f"--output_{split}", file))],
        check=True,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
    print(f"{size / 1e6:,.0f} MB in {seconds:.1f} s: {size / 1e6 / seconds:.0f} MB/s, peak memory {memory:.0f} MB")


def make_input(folder: Path, base_bytes: int) -> dict[str, Path]:
    """The four input files, by the flag that names them."""
    sizes = {"base_train": base_bytes, "base_valid": base_bytes // 100, "ancients_train": 10_000_000}
    sizes["ancients_valid"] = sizes["ancients_train"] // 20
    files = {name: folder / f"{name}.{size}.txt" for name, size in sizes.items()}
    if not all(file.exists() for file in files.values()):
        folder.mkdir(parents=True, exist_ok=True)
        text = " ".join(" ".join(chapter.split()) for chapter in sample_chapters())
        for name, size in sizes.items():
            _write_documents(files[name], size, text, length=900 if "base" in name else 4200)
    return files


def _write_documents(path: Path, size: int, text: str, length: int) -> None:
    rng = random.Random(path.name)
    with open(path, "wb") as out:
        while size > 0:
            start = rng.randrange(len(text) - 2 * length)
            document = text[start : start + rng.randint(length // 2, length * 3 // 2)].strip()
            if rng.random() < 1 / 3:
                document = document.replace("'", "’").replace(", ", " – ", 2)
            size -= out.write(f"{document}\n{SEPARATOR}\n".encode())


if __name__ == "__main__":
    main()
