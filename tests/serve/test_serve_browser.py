"""The page in a real browser: `pytest -m browser`."""

import json
import time

import pytest

from minlm.serve import handler

pytestmark = pytest.mark.browser


@pytest.fixture
def open_page(chromium, server):
    """Open the page; at the end of the test, it must have no errors and no requests to other machines."""
    contexts, troubles, requested = [], [], []

    def note(message):
        if message.type == "error" and not message.text.startswith(
            "Failed to load resource"
        ):  # the browser's message for a refused request
            troubles.append(message.text)

    def open_page(**options):
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", note)
        page.on("request", lambda request: requested.append(request.url))
        page.goto(server.url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []
    assert {url for url in requested if not url.startswith((server.url, "data:"))} == set()


@pytest.fixture
def page(open_page):
    return open_page()


TOKEN = {"id": 7, "probability": 0.25, "alternatives": [{"id": 8, "spelling": "\n", "probability": 0.5}]}
SCRIPT = [
    {"type": "start", "seed": 123, "prompt_tokens": 20, "context_length": 16},
    *({"type": "token", "text": text, "spelling": text, **TOKEN} for text in (" one", " two", " three", " <b>four")),
    {"type": "token", "text": "", "spelling": "⟨e8⟩⟨aa⟩", **TOKEN},
    {"type": "token", "text": "語", "spelling": "⟨9e⟩", **TOKEN, "probability": 1e-5},
    {
        "type": "token",
        "text": "\n",
        "spelling": "\n",
        **TOKEN["alternatives"][0],
        "alternatives": TOKEN["alternatives"],
    },
    {"type": "end", "tokens": 7, "seconds": 1.25, "ended": True},
]


@pytest.fixture
def script(gate, monkeypatch):
    """The server writes what `SCRIPT` says, as fast as the gate lets it."""
    monkeypatch.setattr(handler, "write_text", gate.wrap(lambda *arguments: iter(SCRIPT)))
    return gate


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def words(element):
    return " ".join(element.inner_text().split())


def wait_for_tokens(page, count):
    page.wait_for_function("count => document.querySelectorAll('.token').length === count", arg=count)


def wait_for_status(page, text):
    page.get_by_role("status").get_by_text(text).wait_for()


@pytest.fixture
def torn(monkeypatch):
    """The server sends each line of the answer in two parts."""

    def send(handler, event):
        handler.status or handler._begin(200, "application/x-ndjson")
        line = json.dumps(event).encode() + b"\n"
        for part in (line[:20], line[20:]):
            handler.wfile.write(part)
            time.sleep(0.005)

    monkeypatch.setattr(handler.Handler, "_send_event", send)


def test_write_a_text_with_the_model(page, ask, torn):
    page.get_by_label("Prompt").fill("the 語")
    page.get_by_label("Temperature").fill("0.7")
    page.get_by_label("top_p").fill("0.9")
    page.get_by_label("Length").fill("40")
    page.get_by_label("Seed").fill("5")
    press(page, "Write")
    wait_for_status(page, "seed 5")
    events = list(ask(prompt="the 語", temperature=0.7, top_p=0.9, max_tokens=40, seed=5).events)
    texts = [event["text"] for event in events if event.get("text")]
    assert page.locator("#text").text_content() == "the 語" + "".join(texts)
    assert page.locator(".token").all_text_contents() == texts
    ids = page.evaluate("[...document.querySelectorAll('.token')].flatMap(span => span.tokens.map(token => token.id))")
    assert ids == [event["id"] for event in events if "id" in event]


def test_tokens_appear_one_by_one_until_it_is_stopped(page, script):
    press(page, "Write")
    script.let(1)
    wait_for_status(page, "Writing …")
    for count in (1, 2, 3):
        script.let(1)
        wait_for_tokens(page, count)
    press(page, "Stop")
    wait_for_status(page, "Stopped after 3 tokens.")
    assert page.locator("#text").text_content() == " one two three"
    script.open()
    press(page, "Write")  # the queue is empty
    wait_for_status(page, "The model ended the text: 7 tokens in 1.3 s, seed 123.")
    page.get_by_text("The prompt has 20 tokens. The model reads only the last 16 of them, its context.").wait_for()
    press(page, "Keep this seed")
    assert page.get_by_label("Seed").input_value() == "123"


def test_at_temperature_0_no_seed_is_offered(page, script):
    script.open()
    page.get_by_label("Temperature").fill("0")
    press(page, "Write")
    wait_for_status(page, "The model ended the text: 7 tokens in 1.3 s.")
    assert page.get_by_role("button", name="Keep this seed").is_hidden()
    page.get_by_label("Temperature").fill("0.5")
    press(page, "Write")
    wait_for_status(page, "seed 123")
    assert page.get_by_role("button", name="Keep this seed").is_visible()


def test_probabilities_by_mouse_and_keyboard(page, script):
    script.open()
    page.get_by_label("Prompt").press("Control+Enter")
    wait_for_status(page, "7 tokens")
    card = page.locator("#card")
    assert card.is_hidden()
    page.get_by_text(" two").hover()
    assert words(card) == "25 % for ␣two token 7, not among the 1 most probable ↵ 50 %"
    page.get_by_text("語").hover()
    assert "2 tokens together: 25 % for ⟨e8⟩⟨aa⟩" in words(card)
    assert "1 in 100,000 for ⟨9e⟩" in words(card)
    page.get_by_label("Prompt").hover()
    assert card.is_hidden()
    page.locator("#text").focus()
    page.keyboard.press("ArrowRight")
    assert "for ␣one" in words(card)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert "for ␣two" in words(card)
    page.keyboard.press("End")
    assert "token 8, rank 1" in words(card)
    page.keyboard.press("Escape")
    assert card.is_hidden()


def test_waiting_for_another(open_page, script):
    first, second = open_page(), open_page()
    press(first, "Write")
    script.let(2)
    wait_for_tokens(first, 1)
    press(second, "Write")
    wait_for_status(second, "Waiting: 1 request ahead of you.")
    press(first, "Stop")
    script.open()
    wait_for_status(second, "7 tokens")


def test_errors_are_shown(page, server, monkeypatch):
    server.queue.max_served = server.queue.max_waiting = 0
    press(page, "Write")
    page.get_by_role("alert").get_by_text("others are waiting already").wait_for()
    page.route("**/write", lambda route: route.abort())
    press(page, "Write")
    page.get_by_role("alert").get_by_text("Is nlm-serve still running?").wait_for()
    page.unroute("**/write")
    server.queue.max_served = server.queue.max_waiting = 1
    monkeypatch.setattr(handler, "write_text", lambda *arguments: (event for event in SCRIPT[:3]))
    press(page, "Write")
    page.get_by_role("alert").get_by_text("Is nlm-serve still running?").wait_for()
    assert page.locator("#text").text_content() == " one two"


@pytest.mark.parametrize("width", [320, 390])
def test_on_a_phone(open_page, script, width):
    script.open()
    page = open_page(viewport={"width": width, "height": 700}, has_touch=True, color_scheme="dark")
    page.get_by_label("Prompt").fill("a long prompt " * 10)
    page.get_by_role("button", name="Write").tap()
    wait_for_status(page, "7 tokens")
    page.get_by_text(" two").tap()
    box = page.locator("#card").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    page.get_by_text("Let it write").tap()
    assert page.locator("#card").is_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light dark"
