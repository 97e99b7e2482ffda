"""`snakemake --report`: one file with every figure, read as data; and looked at in a browser (`pytest -m browser`)."""

import base64
import json
import re
import urllib.parse

import pytest
from checkout import snakemake

PAGES = {
    "summary": "What this run has made",
    "corpus": "bytes",
    "tokenizer": "tokens: 256 bytes",
    "evaluation": "this model",
    "samples": "The cat",
    "environment": "torch",
}
PICTURES = {
    "results/corpus.png": "Corpus",
    "results/plots/loss_vs_iter.png": "Training",
    "results/plots/loss_vs_time.png": "Training",
    "results/plots/speed_vs_iter.png": "Training",
}


@pytest.fixture(scope="module")
def report(finished):
    finished.run("--report", "results/report.html")
    return finished.folder / "results/report.html"


def embedded(report, name):
    """The value that the page's script of this name sets."""
    script = report.read_text().split(f'<script id="{name}">', 1)[1]
    return json.JSONDecoder().raw_decode(script.split(" = ", 1)[1])[0]


def content(result):
    head, _, data = result["data_uri"].partition(",")
    return base64.b64decode(data) if "base64" in head else urllib.parse.unquote_to_bytes(data)


def test_every_figure_is_in_the_report_with_its_caption(report):
    results = embedded(report, "results")
    assert all(result["caption"].startswith("<p>") for result in results.values())
    for name, words in PAGES.items():
        assert words in content(results[f"results/report/{name}.html"]).decode()
    for path in PICTURES:
        assert content(results[path]).startswith(b"\x89PNG")
    for path in ("results/samples.txt", "results/evaluation.json", "results/corpus.csv"):
        assert content(results[path]) == (report.parents[1] / path).read_bytes()


def test_the_settings_are_those_of_the_model_and_no_cores_are_needed(finished):
    """A report made later with another configuration describes the run as it was; README calls it without --cores."""
    path = finished.folder / "results/later.html"
    status, output = snakemake(
        "--report", str(path), "--config", "model={d_ff: 128}", "training={lr_max: 5e-3}", folder=finished.folder
    )
    assert status == 0, output
    settings = dict(re.findall(r"<th>(\w+)</th><td>([^<]*)</td>", embedded(path, "workflow-desc")))
    assert (settings["d_ff"], settings["lr_max"]) == ("64", "0.001")


def test_graph_run_times_and_configuration_are_in_the_report(report):
    description = embedded(report, "workflow-desc")
    assert "System Message" not in description  # of docutils, about text that it cannot read
    for key in ("corpus.files.train", "tokenizer.vocab_size", "d_model", "lr_max"):
        assert f"<th>{key}</th>" in description
    assert description.index("<h2>Loss</h2>") < description.index("<th>lzma</th>") < description.index("<details>")
    steps = {
        "collect_files",
        "mix",
        "count_words",
        "train_tokenizer",
        "tokenize",
        "train",
        "evaluate",
        "sample",
        "plot",
    }
    for figure in ("rulegraph", "runtimes", "timeline"):
        assert all(f'"{step}"' in json.dumps(embedded(report, figure)) for step in steps)


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_each_figure_opens_in_a_browser_without_the_network(chromium, report, width):
    page = chromium.new_page(viewport={"width": width, "height": 844})
    wrong, asked = [], []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: asked.append(request.url) if request.url.startswith("http") else None)
    page.goto(report.as_uri())
    menu, shown = page.locator("#app > div > nav"), page.locator("#app > div > :last-child")

    def readable():
        """What is shown lies beside or below the menu, and inside the window."""
        box, other = shown.bounding_box(), menu.bounding_box()
        assert box["x"] >= other["width"] or box["y"] >= other["height"]
        assert box["x"] + box["width"] <= width
        assert box["width"] > 0.6 * width

    shown.get_by_text("Bits per byte of unseen text").wait_for()
    assert shown.locator(".summary img").bounding_box()["y"] < 844  # the result is what it opens on
    shown.get_by_text("Settings of this run").click()
    shown.locator("table >> text=tokenizer.vocab_size").wait_for()
    shown.locator("canvas, svg").first.wait_for()  # the graph
    readable()
    menu.get_by_text("Statistics").click()
    shown.locator("#timeline canvas").wait_for()
    readable()
    figures = {f"results/report/{name}.html": name.capitalize() for name in PAGES} | PICTURES
    for path, category in figures.items():
        page.goto("about:blank")
        page.goto(report.as_uri())
        menu.get_by_text(category, exact=True).click()
        menu.locator("tr", has_text=path).locator("a").first.click()
        if path.endswith(".png"):
            image = shown.locator("img")
            image.wait_for()
            assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 400
        else:
            words = PAGES[category.lower()]
            frame = page.frame_locator("iframe").get_by_text(words)
            frame.first.wait_for()
        readable()
    colors = "[...document.querySelectorAll('.tokens span')].map(span => getComputedStyle(span).backgroundColor)"
    page.set_content(content(embedded(report, "results")["results/report/tokenizer.html"]).decode())
    assert len(set(page.evaluate(colors))) == 6
    assert (wrong, asked) == ([], [])
    page.close()
