"""From prompts to texts, and to the file with the samples."""

import pytest
import torch

from minlm.errors import MinlmError
from minlm.generation.samples_file import Sample, Setting, generate_samples, random_seed, write_samples
from minlm.tokenization import BPETokenizer
from minlm.transformer import TransformerLM, generate

END_OF_TEXT = 256
SETTINGS = [Setting(0.8, 0.9), Setting(0.0, None)]


@pytest.fixture(scope="module")
def tokenizer() -> BPETokenizer:
    vocab = {byte: bytes([byte]) for byte in range(256)} | {256: b"<|endoftext|>", 257: b"th", 258: b"the"}
    return BPETokenizer(vocab, [(b"t", b"h"), (b"th", b"e")], ["<|endoftext|>"])


def make_model(vocab_size: int = 259) -> TransformerLM:
    torch.manual_seed(0)
    return TransformerLM(vocab_size, 16, 16, 1, 2, 24)


def test_each_prompt_with_each_setting_is_what_generate_gives(tokenizer):
    model = make_model()
    samples = generate_samples(model, tokenizer, ["the", "é "], SETTINGS, 20, seed=7)
    assert [(sample.prompt, sample.setting, sample.seed) for sample in samples] == [
        ("the", SETTINGS[0], 7), ("the", SETTINGS[1], 8), ("é ", SETTINGS[0], 9), ("é ", SETTINGS[1], 10),
    ]  # fmt: skip
    for sample in samples:
        prompt_ids = tokenizer.encode(sample.prompt)
        setting = sample.setting
        ids = generate(model, prompt_ids, 20, setting.temperature, setting.top_p, END_OF_TEXT, sample.seed).tolist()
        assert sample.text == tokenizer.decode(ids)
        assert sample.text.startswith(sample.prompt)
        assert sample.new_tokens == len(ids) - len(prompt_ids)


def test_an_empty_prompt_starts_a_document(tokenizer):
    model = make_model()
    (sample,) = generate_samples(model, tokenizer, [""], SETTINGS[:1], 20, seed=0)
    ids = generate(model, [END_OF_TEXT], 20, 0.8, 0.9, END_OF_TEXT, seed=0)
    assert sample.text == tokenizer.decode(ids[1:].tolist())
    assert "<|endoftext|>" not in sample.text


def test_a_text_ends_at_end_of_text(tokenizer):
    model = make_model()
    with torch.no_grad():  # from every state the most probable token is <|endoftext|>
        model.lm_head.weight.zero_()
        model.lm_head.weight[END_OF_TEXT] = model.ln_final(model.token_embeddings.weight[ord("a")])
    (sample,) = generate_samples(model, tokenizer, ["a"], [Setting(0.0, None)], 20, seed=0)
    assert sample == Sample("a", Setting(0.0, None), 0, sample.text, sample.new_tokens, ended=sample.new_tokens < 20)
    assert sample.ended
    assert sample.text == "a"


def test_ids_that_the_tokenizer_lacks_are_never_drawn(tokenizer):
    model = make_model(vocab_size=4000)  # the tokenizer lacks nearly all ids
    samples = generate_samples(model, tokenizer, ["the"], [Setting(2.0, None), Setting(0.0, None)], 50, seed=0)
    assert all(sample.text.startswith("the") for sample in samples)


def test_settings_are_read():
    assert Setting.parse("0.7:0.9") == Setting(0.7, 0.9)
    assert Setting.parse("1:none") == Setting(1.0, None)
    assert Setting.parse("1:0.9:40") == Setting(1.0, 0.9, 40)
    assert Setting.parse("1:none:none") == Setting(1.0, None)
    for wrong in ["", "0.7", "0.7:", "warm:0.9", "0.7:0.9:", "0.7:0.9:1.5", "0.7:0.9:1:2"]:
        with pytest.raises(MinlmError, match='write "temperature:top_p"'):
            Setting.parse(wrong)


def test_random_seeds_differ():
    assert len({random_seed() for _ in range(10)}) > 1


def test_the_file_of_samples(tmp_path):
    samples = [
        Sample("In those", Setting(0.7, 0.9), 3, "In those days\nthere was\n", 5, ended=False),
        Sample("", Setting(1.0, None, 40), 4, "\nGröße", 2, ended=True),
    ]
    write_samples(tmp_path / "new" / "samples.txt", samples, "Samples of a test")
    lines = (tmp_path / "new" / "samples.txt").read_text(encoding="utf-8").split("\n")
    assert lines == [
        "Samples of a test", "", "",
        "=" * 80, 'prompt: "In those"', "temperature 0.7, top_p 0.9, seed 3 (5 new tokens)", "-" * 80,
        "In those days", "there was", "", "",
        "=" * 80, 'prompt: ""', "temperature 1.0, top_p none, top_k 40, seed 4 (2 new tokens, then the end)", "-" * 80,
        "Größe", "",
    ]  # fmt: skip


def test_an_output_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MinlmError, match=r"cannot write .*samples\.txt"):
        write_samples(tmp_path / "file" / "samples.txt", [], "title")
