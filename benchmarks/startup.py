"""What a call of snakemake that finds nothing to do costs, beside Snakemake's own start.

    python benchmarks/startup.py

Both commands run in turn, in a folder of their own: this workflow after a finished run of its corpus steps, and a
Snakefile with one rule whose output exists.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROUNDS = 7
SNAKEMAKE = [sys.executable, "-m", "snakemake", "--cores", "1", "--quiet", "all"]


def seconds(command: list[str], folder: Path) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        ours, plain = Path(temporary) / "ours", Path(temporary) / "plain"
        plain.mkdir()
        (plain / "Snakefile").write_text('rule one:\n    output: "out.txt"\n    shell: "touch {output}"\n')
        ignored = shutil.ignore_patterns(".*", "data", "results", "logs")
        shutil.copytree(ROOT, ours, ignore=ignored)
        commands = {
            "minlm, nothing to do": ([*SNAKEMAKE, "--", "data/tokens/train.npy"], ours),
            "one rule, nothing to do": ([*SNAKEMAKE, "--", "out.txt"], plain),
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for command, folder in commands.values():
            seconds(command, folder)  # makes what is missing
        for _ in range(ROUNDS):
            for name, (command, folder) in commands.items():
                times[name].append(seconds(command, folder))
        for name, values in times.items():
            print(f"{name:25} median {statistics.median(values):.2f} s, {min(values):.2f}–{max(values):.2f} s")
        ours_median, plain_median = (statistics.median(values) for values in times.values())
        print(f"difference: {ours_median - plain_median:.2f} s")


if __name__ == "__main__":
    main()
