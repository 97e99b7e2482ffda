"""The report's pages, made by the program from files that a run leaves."""

import json
import re

import pytest

from minlm.reports.pages import write_page
from minlm.scripts import report_pages
from minlm.tokenization import BPETokenizer
from minlm.training.metrics import write_metrics
from minlm.transformer import TransformerLM
from minlm.transformer.checkpoint import save_model


@pytest.fixture
def flags(tmp_path):
    """Flags for the files of a finished run; the pages go to tmp_path/pages."""
    from minlm.generation.samples_file import Sample, Setting, write_samples

    vocab = {byte: bytes([byte]) for byte in range(256)} | {256: b"<|endoftext|>", 257: b"th", 258: b"the"}
    tokenizer = BPETokenizer(vocab, [(b"t", b"h"), (b"th", b"e")], ["<|endoftext|>"])
    tokenizer.save(tmp_path / "vocab.json", tmp_path / "merges.txt")
    model = TransformerLM(259, 8, 16, 1, 2, 24)
    save_model(tmp_path / "model.pt", model, 100, tokenizer.fingerprint, {"lr_max": 0.001, "compile": "off"})
    row = {"train_loss": 5.0, "elapsed_s": 90, "tokens_seen": 3200, "tokens_per_s": 9}
    write_metrics(tmp_path / "metrics.csv", [{**row, "iter": 1}, {**row, "iter": 100, "val_loss": 2.5}])
    (tmp_path / "loss.png").write_bytes(b"\x89PNG")
    (tmp_path / "corpus.csv").write_text("corpus,split,words,share\nbible,train,12345,0.6\nbible,valid,678,\n")
    evaluation = {
        "nats_per_token": 2.5, "perplexity": 12.2, "bits_per_byte": 1.75, "tokens": 1000, "bytes": 4000,
        "baseline": {"lzma_bits_per_byte": 2.25, "bz2_bits_per_byte": 1.5}, "parameters": 29536, "iteration": 100,
    }  # fmt: skip
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation))
    samples = [Sample("a <b>", Setting(t, 0.9, k), 7, f"a <b> & {t}", 3, False) for t, k in ((0.7, None), (0.7, 40))]
    samples.append(Sample("", Setting(0.7, 0.9, None), 8, "new", 3, False))
    write_samples(tmp_path / "samples.txt", samples, "Samples")
    files = {"checkpoint": "model.pt", "metrics": "metrics.csv", "loss_curve": "loss.png",
             "vocab_path": "vocab.json", "merges_path": "merges.txt", "corpus": "corpus.csv",
             "evaluation": "evaluation.json", "samples": "samples.txt", "output_dir": "pages"}  # fmt: skip
    return [word for name, file in files.items() for word in (f"--{name}", str(tmp_path / file))]


def test_each_page_shows_the_contents_of_its_file(flags, tmp_path):
    settings = ["--settings", "corpus.source=a=<b>", "--unused", "ancients.max_books"]
    report_pages.main([*flags, "--texts", "the <é>", *settings])
    made = {path.stem: path.read_text() for path in (tmp_path / "pages").iterdir()}
    assert set(made) == {"summary", "corpus", "tokenizer", "evaluation", "samples", "environment"}
    assert all("http" not in page and "<h1>" in page for page in made.values())
    assert "12,345" in made["corpus"]
    assert re.findall(r'class="text">(bz2|this model|lzma)<', made["evaluation"]) == ["bz2", "this model", "lzma"]
    assert made["samples"].count('<div class="card">') == 3
    assert re.findall("<summary>(.*?)</summary>", made["samples"]) == ["“a &lt;b&gt;”", "no prompt: a new document"]
    assert "a &lt;b&gt; &amp; 0.7" in made["samples"]
    seeds = ("seed 7", "top_k 40, seed 7", "seed 8")
    titles = [f"temperature 0.7, top_p 0.9, {seed}" for seed in seeds]
    assert re.findall("<b>(.*?)</b>", made["samples"]) == titles
    tokens = re.findall(r'<span class="t\d" title="(\d+)">(.*?)</span>', made["tokenizer"])
    assert tokens == [("258", "the"), ("32", " "), ("60", "&lt;"), ("195", "⟨c3⟩"), ("169", "⟨a9⟩"), ("62", "&gt;")]
    assert "8 bytes, 6 tokens: 1.33 bytes/token" in made["tokenizer"]
    assert "torch" in made["environment"]
    assert re.findall(r"<th>(bz2|this model|lzma)</th>", made["summary"]) == ["bz2", "this model", "lzma"]
    rows = dict(re.findall(r"<th>([\w.]+)</th><td>(.*?)</td>", made["summary"]))
    assert rows.items() >= {"corpus.source": "a=&lt;b&gt;", "d_model": "16", "lr_max": "0.001"}.items()
    assert made["summary"].count('class="card"') == 2  # one for each prompt
    assert "<b>a &lt;b&gt;</b> &amp; 0.7" in made["summary"]
    assert "data:image/png;base64,iVBORw==" in made["summary"]
    assert "Settings without effect on this run: 1" in made["summary"]
    assert "3,200 tokens in 90 s." in made["summary"]


@pytest.mark.parametrize(
    ("name", "text"), [("evaluation.json", "{}"), ("samples.txt", None), ("corpus.csv", None), ("model.pt", "")]
)
def test_a_file_that_is_missing_or_something_else_is_named(flags, tmp_path, capfd, name, text):
    (tmp_path / name).unlink() if text is None else (tmp_path / name).write_text(text)
    with pytest.raises(SystemExit) as stopped:
        report_pages.main(flags)
    assert stopped.value.code == 1
    assert str(tmp_path / name) in (error := capfd.readouterr().err)
    assert "Traceback" not in error


def test_pages_escape_what_they_are_given(tmp_path):
    values = {"title": "&", "header": ["<a>", "b"], "rows": [["<i>", "2"]], "text_columns": ["<a>"], "note": "1 < 2"}
    write_page(tmp_path / "page.html", "table.html", **values)
    page = (tmp_path / "page.html").read_text()
    for part in ("<title>&amp;</title>", 'class="text">&lt;a&gt;<', 'class="text">&lt;i&gt;<', "<td>2<", "1 &lt; 2"):
        assert part in page
