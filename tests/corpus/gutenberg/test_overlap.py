"""Passages that training and validation books share."""

from minlm.corpus.gutenberg.overlap import report_overlap


def words(start, end):
    return " ".join(f"word{n}" for n in range(start, end))


def test_shared_passages_are_counted_and_named(tmp_path, caplog):
    caplog.set_level("INFO", "minlm")
    texts = {"1": words(0, 500), "2": f"{words(600, 900)}. {words(100, 132).upper()}!", "3": words(2000, 2500)}
    texts["4"] = f"{words(3000, 9000)} {words(2100, 2113)}"
    paths = {name: tmp_path / f"{name}.txt" for name in texts}
    for name, text in texts.items():
        paths[name].write_text(text)
    assert report_overlap([paths["2"], paths["4"]], [paths["1"], paths["3"]]) == 21 + 2
    shown = caplog.text
    assert "23 of 978 passages of 12 words in the validation text are in training" in shown
    assert "in book 2 are also" in shown
    assert "in book 4" not in shown
    assert report_overlap([paths["1"]], [paths["3"]]) == 0
