"""The settings that a run's report shows, and those that it leaves out."""

from minlm.pipeline.config import resolve
from minlm.pipeline.settings import load_schema
from minlm.pipeline.used import recipe, text_settings, unused_settings


def settings(**config) -> tuple[dict[str, str], list[str]]:
    complete = resolve(config, load_schema())
    return dict(setting.split("=", 1) for setting in text_settings(complete)), unused_settings(complete)


def test_only_the_chosen_source_counts():
    used, unused = settings(corpus={"source": "sample"}, ancients={"share": 0})
    assert used["corpus.source"] == "sample"
    assert used["corpus.target_total_words"] == "null"
    assert "corpus.sample.valid_every" in used
    assert {"corpus.files.train", "corpus.tinystories.train_url", "ancients.languages"} <= set(unused)
    assert not set(used) & set(unused)


def test_files_from_the_web_share_the_settings_of_local_ones():
    used, unused = settings(corpus={"source": "urls", "urls": {"train": ["http://a.b/c.csv"]}})
    assert {"corpus.urls.train", "corpus.files.text_field", "corpus.files.documents"} <= set(used)
    assert {"corpus.files.train", "corpus.files.valid", "corpus.sample.valid_every"} <= set(unused)


def test_ancient_books_count_if_they_have_a_share():
    used, unused = settings(corpus={"source": "tinystories"}, ancients={"share": 0.4})
    assert "ancients.languages" in used
    sections = {"corpus.sample", "corpus.files", "corpus.chat", "corpus.urls"}
    assert {name.rpartition(".")[0] for name in unused} == sections


def test_settings_that_change_no_result_are_in_neither():
    used, unused = settings(ancients={"share": 0.4, "request_delay": 7})
    assert "ancients.request_delay" not in [*used, *unused]


def test_secrets_in_addresses_stay_out_of_the_recipe():
    secret, public = "https://bob:secret@example.org/a.csv?token=abc", "https://example.org/a.csv"
    urls = {"train": [secret], "valid": [{"url": f"{secret}2"}]}
    made = recipe(resolve({"corpus": {"source": "urls", "urls": urls}}, load_schema()))
    assert made["corpus"]["urls"] == {"train": [public], "valid": [{"url": public}]}
