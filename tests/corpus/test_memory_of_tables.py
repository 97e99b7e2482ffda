"""Tables that are much larger than the memory that reading them may take."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minlm.corpus.local_files import _read_files

ROWS, CHARACTERS = 24_000, 5_000  # 120 MB of text
MEMORY = 90 << 20  # pyarrow itself takes 70 MB, however large the file is


def write(path: Path) -> None:
    filler = "words and more " * (CHARACTERS // 15)
    texts = (f"{number} {filler}" for number in range(ROWS))
    if path.suffix in (".parquet", ".arrow"):
        table = pa.table({"text": list(texts), "id": range(ROWS)})
        if path.suffix == ".parquet":  # one row group
            pq.write_table(table, path, row_group_size=ROWS, compression="none", use_dictionary=False)
        else:  # one batch
            with pa.ipc.new_stream(str(path), table.schema) as writer:
                writer.write_table(table)
    elif path.suffix == ".json":
        path.write_text(json.dumps([{"text": text} for text in texts]))
    else:
        path.write_text("text\n" + "".join(f'"{text}"\n' for text in texts))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.json", "a.csv"])
def test_memory_is_bounded(tmp_path, name):
    write(tmp_path / name)
    child = subprocess.run(
        [sys.executable, __file__, str(tmp_path / name)], capture_output=True, text=True, timeout=120
    )
    assert child.stdout == f"{ROWS} texts in little memory\n", child.stderr[-2000:]


def _main() -> None:
    path, problems, count, most = Path(sys.argv[1]), [], 0, 0
    small = path.with_name(f"small{path.suffix}")
    small.write_bytes(path.read_bytes()[:1000])
    list(_read_files([small], "separator", "text", []))  # imports what it needs
    before = _anonymous()
    for text in _read_files([path], "separator", "text", problems):
        count += len(text) > CHARACTERS - 20
        most = max(most, _anonymous() if count % 500 == 0 else 0)
    print(count, "texts", "in little memory" if most - before < MEMORY else f"in {(most - before) >> 20} MB", *problems)


def _anonymous() -> int:
    """Memory of this process in bytes, without the mapped pages of files."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) << 10


if __name__ == "__main__":
    _main()
