"""Make the pictures of the documentation from a finished run: `make pictures` in a folder with results.

They go to docs/images/ and show the terminal, the report, the comparison, the page of nlm-serve, and the notebook. This
needs `apt-get install chromium` and `pip install -e .[test,browser]`. Few colors keep the pictures small.
"""

import argparse
import io
import os
import pty
import shlex
import shutil
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jinja2
import nbformat
from nbclient import NotebookClient
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from minlm.generation.load import load_with_tokenizer
from minlm.progress import CLEAR
from minlm.serve.server import Server

ROOT = Path(__file__).resolve().parents[1]
COLORS = 48  # of a picture
MODEL = ("results/model.pt", "data/tokenizer/vocab.json", "data/tokenizer/merges.txt")
TEMPLATES = {
    "terminal": """
<style>pre { margin: 0; background: #1c1e22; color: #ddd; font: 14px/1.45 monospace; padding: 1rem;
white-space: pre-wrap; overflow-wrap: anywhere }</style>
<pre>{% for command, output in commands %}<b>$ {{ command }}</b>
{{ output }}
{% endfor %}</pre>""",
    "tour": """
<style>body { font: 15px/1.5 system-ui; max-width: 58rem; padding: 1rem }
img { max-width: 100% } td, th { padding: .1rem .6rem; text-align: left } pre { white-space: pre-wrap }</style>
{% for output in outputs %}<div>
{% if "image/png" in output.data %}<img src="data:image/png;base64,{{ output.data["image/png"] }}">
{% elif "text/html" in output.data %}{{ output.data["text/html"] | safe }}
{% elif output.text %}<pre>{{ output.text }}</pre>{% endif %}
</div>{% endfor %}""",
}


def main() -> None:
    """Make all pictures, or those that are named."""
    parser = argparse.ArgumentParser(description="Make the pictures of the documentation from a finished run.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(PICTURES)} (default: all)")
    parser.add_argument("--project", type=Path, default=ROOT, help="folder of the finished run")
    parser.add_argument("--output_dir", type=Path, default=ROOT / "docs/images", help="folder for the pictures")
    arguments = parser.parse_args()
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for name in arguments.names or PICTURES:
            page = browser.new_page(viewport={"width": 1000, "height": 800})
            data = PICTURES[name](page, arguments.project.resolve())
            picture = Image.open(io.BytesIO(data)).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
            picture.save(arguments.output_dir / f"{name}.png", optimize=True)
            print(f"{name}.png: {(arguments.output_dir / f'{name}.png').stat().st_size / 1000:.0f} kB", flush=True)


def terminal(page: Page, project: Path) -> bytes:
    """What a call shows that evaluates, plots and writes again, and one that continues a prompt."""
    flags = zip(("--checkpoint", "--vocab_path", "--merges_path"), MODEL, strict=True)
    prompt = ["--prompt", "In those days", "--max_tokens", "60", "--temperature", "0.7", "--seed", "1"]
    calls = {
        ("snakemake", "--cores", "2", "--forcerun", "evaluate", "plot", "sample"): [],
        ("nlm-generate", *prompt): [word for flag in flags for word in flag],
    }
    done = [(shlex.join(shown), _screen([*shown, *more], project)) for shown, more in calls.items()]
    page.set_content(jinja2.Template(TEMPLATES["terminal"], autoescape=True).render(commands=done))
    return page.locator("pre").screenshot()


def _screen(command: list[str], project: Path) -> str:
    """What is on a terminal after a command: its lines, without the bars that they have replaced."""
    main, side = pty.openpty()
    termios.tcsetwinsize(side, (40, 110))
    with subprocess.Popen(_program(command), cwd=project, stdin=side, stdout=side, stderr=side) as process:
        os.close(side)
        shown = b""
        with suppress(OSError):  # the other side is closed
            while block := os.read(main, 4096):
                shown += block
    os.close(main)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, shown)
    return "\n".join(line.rpartition(CLEAR)[2] for line in shown.decode().split("\r\n"))


def _program(command: list[str]) -> list[str]:
    return [str(Path(sys.executable).with_name(command[0])), *command[1:]]


def report(page: Page, project: Path) -> bytes:
    """The first page of the report."""
    path = project / "results/report.html"
    subprocess.run(_program(["snakemake", "--report", str(path)]), cwd=project, check=True)
    page.goto(path.as_uri())
    page.locator(".summary").wait_for()
    return page.screenshot()


def comparison(page: Page, project: Path) -> bytes:
    """The top of the comparison of several runs."""
    page.goto((project / "results/comparison.html").as_uri())
    return page.screenshot()


def serve(page: Page, project: Path) -> bytes:
    """The page of nlm-serve, with a text and the details of a token."""
    with _server(project) as server:
        page.goto(server.url)
        page.get_by_label("Prompt").fill("And the king")
        page.get_by_label("Length").fill("80")
        page.get_by_label("Seed").fill("1")
        page.get_by_role("button", name="Write", exact=True).click()
        page.get_by_role("status").get_by_text("tokens in").wait_for()
        page.locator(".token").nth(12).hover()
        return page.screenshot()


@contextmanager
def _server(project: Path) -> Iterator[Server]:
    model, tokenizer, info = load_with_tokenizer(*(project / name for name in MODEL))
    server = Server("127.0.0.1", 0)
    name = f"{MODEL[0]} after {info['iteration']:,} training steps"
    thread = threading.Thread(target=server.serve, args=(model, tokenizer, name))
    thread.start()
    yield server
    server.shutdown()
    thread.join()


def tour(page: Page, project: Path) -> bytes:
    """The outputs of the notebook."""
    notebook: Any = nbformat.read(ROOT / "examples/tour.ipynb", as_version=4)
    NotebookClient(notebook, resources={"metadata": {"path": project}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    for output in outputs:
        output.setdefault("data", {})
    page.set_content(jinja2.Template(TEMPLATES["tour"], autoescape=True).render(outputs=outputs))
    return page.screenshot(full_page=True)


PICTURES: dict[str, Callable[[Page, Path], bytes]] = {
    "terminal": terminal, "report": report, "comparison": comparison, "serve": serve, "tour": tour,
}  # fmt: skip


if __name__ == "__main__":
    main()
