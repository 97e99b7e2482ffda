"""Speed and memory of the tokenizer beside gigatoken, rustbpe, tiktoken and Hugging Face tokenizers.

    python benchmarks/tokenizer.py [--rounds 7] [--corpora prose code] [--memory] [--folder FOLDER] [--output FILE]

The peers and the corpora are in the extra `bench`; a peer that is not installed is left out. All take turns, one job
at a time, on one core; the table has medians over the rounds and, in brackets, the slowest and the fastest. Kernels are
loaded before, and garbage is collected between the turns only. minlm encodes with a new tokenizer each time, which
remembers no words; gigatoken keeps what it learned in the rounds before, unless it runs in a process of its own. The
slow ones train in every third round only, or encode a part of the text, to keep a run near ten minutes.
"""

import argparse
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

os.environ |= {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}  # before any peer is imported

import corpora
import tokenizer_jobs as jobs

RARE = 3  # slow ones train in each third round
ENCODED_BYTES = {"tiktoken": 8_000_000, "tokenizers": 2_000_000}  # that slow ones encode
SHORT_TEXT, SHORT_CALLS = 1024, 200  # characters; calls in a round
CORES = sorted(os.sched_getaffinity(0))[:2]

HEADER = """| text | job | against | minlm | the other | ratio | at least | aim | |
|---|---|---|---|---|---|---|---|---|"""


@dataclass
class Contestant:
    """One of those who do a job.

    Args:
        name: which one.
        job: does it; may return the seconds it took, else they are measured here.
        path: the text, or the part of it that this one gets.
        every: takes part in every so many-th round.
        cores: how many it may use.
    """

    name: str
    job: Callable[[Path], float | None]
    path: Path
    every: int = 1
    cores: int = 1
    rates: list[float] = field(default_factory=list)  # MB/s

    def run(self) -> None:
        """One round."""
        os.sched_setaffinity(0, CORES[: self.cores])
        gc.collect()
        gc.disable()  # its turns come at random and are longer the more peers are loaded
        start = time.perf_counter()
        told = self.job(self.path)
        seconds = told or time.perf_counter() - start
        gc.enable()
        self.rates.append(self.path.stat().st_size / 1e6 / seconds)
        os.sched_setaffinity(0, CORES[:1])

    @property
    def rate(self) -> float:
        """Median, MB/s."""
        return statistics.median(self.rates)

    def __str__(self) -> str:
        return f"{self.rate:.3g} MB/s ({min(self.rates):.3g}–{max(self.rates):.3g})"


def row(*cells: object, ratio: float, least: float, aim: float | None = None) -> str:
    verdict = "missed" if ratio < least else "reached" if aim is None or ratio < aim else "aim reached"
    return "| " + " | ".join(map(str, [*cells, f"{ratio:.2f}×", f"{least}×", f"{aim}×" if aim else "", verdict])) + " |"


def limit_row(*cells: object, figure: float, least: float, aim: float, unit: str) -> str:
    """A row for a figure that is to be small."""
    verdict = "missed" if figure > least else "reached" if figure > aim else "aim reached"
    figures = [f"{figure:.3g} {unit}", "", "", f"{least:g} {unit}", f"{aim:g} {unit}", verdict]
    return "| " + " | ".join(map(str, [*cells, *figures])) + " |"


def take_turns(contestants: dict[str, Contestant], rounds: int) -> None:
    for index in range(-1, rounds):
        for contestant in contestants.values():
            if index < 0 and contestant.every == 1:
                contestant.run()  # warms up: kernels, the file in memory
                contestant.rates.clear()
            elif index >= 0 and index % contestant.every == 0:
                contestant.run()


def part_of(path: Path, num_bytes: int, folder: Path) -> Path:
    """The first documents of a text."""
    with open(path, "rb") as file:
        head = file.read(num_bytes)
    end = head.rfind(jobs.SEPARATOR.encode()) + len(jobs.SEPARATOR) if len(head) == num_bytes else len(head)
    part = folder / f"{path.stem}-{num_bytes}.txt"
    part.write_bytes(head[:end])
    return part


def train_rows(path: Path, folder: Path, installed: list[str], rounds: int) -> list[str]:
    """Text → vocabulary and merges; leaves vocab.json and merges.txt in `folder`."""
    contestants = {"minlm": Contestant("minlm", lambda path: jobs.train_minlm(path, folder), path)}
    if len(CORES) == 2:
        contestants["two"] = Contestant("2 threads", lambda path: jobs.train_minlm(path, folder, 2), path, cores=2)
        contestants["pair"] = Contestant("2 processes", jobs.TwoAtOnce("train", path, folder, CORES), path)
    if "gigatoken" in installed:
        contestants["gigatoken"] = Contestant("gigatoken", jobs.train_gigatoken, path)
    if "rustbpe" in installed:
        contestants["rustbpe"] = Contestant("rustbpe", jobs.train_rustbpe, path, RARE)
    if "tokenizers" in installed:
        contestants["tokenizers"] = Contestant("tokenizers", jobs.train_huggingface, path, RARE)
    take_turns(contestants, rounds)
    limits = {"gigatoken": (3, 5), "rustbpe": (25, None), "tokenizers": (60, None)}
    return compare(path, "train to 10,000", contestants, limits)


def encode_rows(path: Path, folder: Path, installed: list[str], rounds: int) -> tuple[list[str], list[str]]:
    """Text → .npy. Returns rows, and lines on whose ids differ."""
    encoders = jobs.Encoders(folder)
    encoders.load_peers(installed)
    contestants = {"minlm": Contestant("minlm", encoders.minlm, path)}
    if len(CORES) == 2:
        contestants["two"] = Contestant("2 threads", lambda path: encoders.minlm(path, 2), path, cores=2)
        contestants["pair"] = Contestant("2 processes", jobs.TwoAtOnce("encode", path, folder, CORES), path)
    if "gigatoken" in installed:
        contestants["gigatoken"] = Contestant("gigatoken, warm", encoders.gigatoken, path)
        contestants["fresh"] = Contestant("gigatoken, fresh process", encoders.gigatoken_fresh, path)
    parts = {name: part_of(path, size, folder) for name, size in ENCODED_BYTES.items()}
    if "tiktoken" in installed:
        contestants["tiktoken"] = Contestant("tiktoken, on 8 MB", encoders.tiktoken, parts["tiktoken"])
    if "tokenizers" in installed:
        contestants["tokenizers"] = Contestant("tokenizers, on 2 MB", encoders.huggingface, parts["tokenizers"])
    take_turns(contestants, rounds)
    for part in parts.values():
        encoders.minlm(part)
    notes = [line for text in [*parts.values(), path] for line in encoders.differences(text)]
    limits = {"gigatoken": (0.85, 1.0), "fresh": (1.3, None), "tiktoken": (10, None), "tokenizers": (80, None)}
    rows = compare(path, "encode to .npy", contestants, limits)
    return rows + (short_rows(path, encoders, rounds) if "tiktoken" in installed else []), notes


def compare(
    path: Path, job: str, contestants: dict[str, Contestant], limits: dict[str, tuple[float, float | None]]
) -> list[str]:
    minlm, rows = contestants["minlm"], []
    for key, (least, aim) in limits.items():
        if key in contestants:
            other = contestants[key]
            name = f"{other.name} ({len(other.rates)} rounds)" if other.every > 1 else other.name
            rows.append(row(path.stem, job, name, minlm, other, ratio=minlm.rate / other.rate, least=least, aim=aim))
    if two := contestants.get("two"):
        ratio = two.rate / minlm.rate
        rows.append(row(path.stem, f"{job}, 2 threads", "1 thread", two, minlm, ratio=ratio, least=1.6, aim=1.9))
        pair = contestants["pair"]
        figures = f"{pair} | {minlm} | {pair.rate / minlm.rate:.2f}×"
        rows.append(f"| {path.stem} | {job}, 2 processes | 1 process | {figures} | | | the machine's limit |")
    return rows


def short_rows(path: Path, encoders: jobs.Encoders, rounds: int) -> list[str]:
    """`encode(str)` of 1 KB: the same text again and again, and texts that are new in each call."""
    text = path.read_bytes()[: (rounds + 1) * SHORT_CALLS * SHORT_TEXT].decode(errors="ignore")
    text = text.replace(jobs.SEPARATOR, "")
    texts = [text[start : start + SHORT_TEXT] for start in range(0, len(text), SHORT_TEXT)]
    ours, theirs = encoders.tokenizer.encode, encoders.tiktoken_encoding.encode_ordinary
    rows = []
    for job, several in {"the same": [texts[0]] * len(texts), "new ones": texts}.items():
        times: tuple[list[float], list[float]] = ([], [])
        for first in range(0, len(several), SHORT_CALLS):
            for encode, seconds in zip((ours, theirs), times, strict=True):
                for short in several[first : first + SHORT_CALLS]:
                    start = time.perf_counter()
                    encode(short)
                    seconds.append(time.perf_counter() - start)
        us, them = (statistics.median(seconds) * 1e6 for seconds in times)
        cells = path.stem, f"`encode` of 1 KB, {job}", "tiktoken", f"{us:.1f} µs", f"{them:.1f} µs"
        rows.append(row(*cells, ratio=them / us, least=1, aim=2))
    return rows


def start_rows(folder: Path, rounds: int) -> list[str]:
    """Until a short text is encoded: on a new machine, and in later processes."""
    with tempfile.TemporaryDirectory() as kernels:
        first = jobs.first_text(folder, Path(kernels))
        later = statistics.median(jobs.first_text(folder, Path(kernels)) for _ in range(rounds))
    return [
        limit_row("", "first use ever (compiles)", "", figure=first, least=20, aim=10, unit="s"),
        limit_row("", "later processes, whole", "", figure=later, least=1, aim=1, unit="s"),
    ]


def memory_rows(path: Path, folder: Path) -> list[str]:
    """Peak memory at 1 GB and 2 GB of text."""
    os.sched_setaffinity(0, CORES)
    data, rows, peaks = path.read_bytes(), [], {}
    for gigabytes in (1, 2):
        large = folder / f"{path.stem}-{gigabytes}GB.txt"
        with open(large, "wb") as file:
            for _ in range(-(-gigabytes * 10**9 // len(data))):
                file.write(data)
        for job in ("train", "encode"):
            peaks[job, gigabytes] = jobs.peak_memory(job, large, folder, len(CORES))
        for made in [large, folder / "minlm" / f"{large.stem}.npy"]:
            made.unlink(missing_ok=True)
    for (job, gigabytes), peak in peaks.items():
        cells = path.stem, f"peak memory: {job} {gigabytes} GB, {len(CORES)} threads", f"1 GB: {peaks[job, 1]:.0f} MB"
        rows.append(limit_row(*cells, figure=peak, least=700, aim=400, unit="MB"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--corpora", nargs="+", choices=["prose", "code"], default=["prose", "code"])
    parser.add_argument("--folder", type=Path, default=Path("data/benchmark"), help="the texts, made if not there")
    parser.add_argument("--num_bytes", type=int, help="take so much of each text only, to try the benchmark")
    parser.add_argument("--memory", action="store_true", help="peak memory at 1 GB and 2 GB, too (minutes)")
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks/tokenizer.md"))
    options = parser.parse_args()

    installed = [name for name in jobs.PEERS if find_spec(name)]
    missing = [name for name in jobs.PEERS if name not in installed]
    lines = [f"{name} is not installed, so it is left out: pip install '.[bench]'\n" for name in missing]
    if len(CORES) < 2:
        lines.append("There is one core only, so 2 threads are left out.\n")
    peers = ", ".join(f"{name} {version(name)}" for name in ["numba", *installed])
    lines += [f"{options.rounds} rounds, medians (slowest–fastest); {peers}.", "", HEADER]
    notes: list[str] = []
    os.sched_setaffinity(0, CORES[:1])
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        for name in options.corpora:
            path = getattr(corpora, name)(options.folder / f"{name}.txt")
            if options.num_bytes:
                path = part_of(path, options.num_bytes, folder)
            lines += train_rows(path, folder, installed, options.rounds)
            rows, more = encode_rows(path, folder, installed, options.rounds)
            lines, notes = lines + rows, notes + more
            if options.memory:
                lines += memory_rows(path, folder)
        lines += [*start_rows(folder, options.rounds), "", *notes]
    print("\n".join(lines))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
