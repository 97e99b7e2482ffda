// The page's behavior: request a text, show its tokens as they arrive, and describe each of them.

const find = (id) => document.getElementById(id);
const form = find("form"), text = find("text"), card = find("card");
const BITS_OF_FULL_COLOR = 10; // tokens with a probability of 1/1024 or less have the strongest color

// --- requests --------------------------------------------------------------------------------------------------------

let running = null; // the AbortController of the current request
let count = 0; // tokens in the text

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!running) write();
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
find("stop").addEventListener("click", () => running?.abort()); // the server sees the connection close
find("keep-seed").addEventListener("click", () => { form.seed.value = text.dataset.seed; });
for (const name of ["temperature", "top_p"]) {
  const show = () => { find(`${name}-value`).value = Number(form[name].value).toFixed(2); };
  form[name].addEventListener("input", show);
  show(); // the browser may have kept the value of an earlier visit
}

async function write() {
  const chat = form.chat?.checked;
  if (chat && form.prompt.value.trim() === "") return showProblem("Write something to answer first.");
  running = new AbortController();
  if (chat) beginTurn();
  else clear();
  setBusy(true);
  const temperature = Number(form.temperature.value);
  text.classList.toggle("greedy", temperature === 0); // no random numbers, so no seed
  try {
    const response = await fetch("/write", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      signal: running.signal,
      body: JSON.stringify({
        ...(chat ? { messages } : { prompt: form.prompt.value }),
        temperature,
        top_p: Number(form.top_p.value),
        max_tokens: Number(form.max_tokens.value),
        seed: form.seed.value === "" ? undefined : Number(form.seed.value), // left out, it is random
      }),
    });
    if (!response.ok) throw new Error((await response.json()).error);
    let event = null;
    for await (event of events(response.body)) handle[event.type](event);
    if (event?.type !== "end") throw new TypeError("the answer is incomplete");
  } catch (error) {
    if (error.name === "AbortError") showStatus(`Stopped after ${plural(count, "token")}.`);
    else if (error instanceof TypeError) showProblem("The server does not answer. Is nlm-serve still running?"); // from fetch
    else showProblem(error.message);
  } finally {
    running = null;
    setBusy(false);
    if (chat) endTurn();
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}

// --- a chat -----------------------------------------------------------------------------------------------------------

let messages = []; // so far; the model reads all of them each time

find("chat")?.addEventListener("change", newChat);
find("new-chat")?.addEventListener("click", newChat);

function newChat() {
  if (running) return;
  messages = [];
  clear();
  for (const id of ["text", "legend", "keep-seed"]) find(id).hidden = true;
}

function beginTurn() {
  find("problem").hidden = find("hint").hidden = true;
  unfinished = [];
  count = 0;
  messages.push({ role: "user", content: form.prompt.value });
  turn = element("div", "turn assistant");
  text.append(element("div", "turn user", form.prompt.value), turn);
}

function endTurn() {
  if (turn.textContent.trim() === "") { // it failed or was stopped at once, or the model said nothing
    messages.pop();
    turn.previousSibling.remove();
    turn.remove();
  } else {
    messages.push({ role: "assistant", content: turn.textContent });
    form.prompt.value = "";
  }
  turn = text;
}

// --- the text --------------------------------------------------------------------------------------------------------

let unfinished = []; // tokens that ended inside a character
let turn = text; // what tokens are added to

const handle = {
  waiting({ in_front }) { showStatus(`Waiting: ${plural(in_front, "request")} ahead of you.`); },
  start({ seed, prompt_tokens, context_length }) {
    showStatus("Writing …");
    text.dataset.seed = seed;
    if (turn === text) text.append(element("span", "prompt-text", form.prompt.value));
    for (const id of ["text", "legend"]) find(id).hidden = false;
    find("keep-seed").hidden = isGreedy();
    const read = `The model reads only the last ${context_length} of them, its context.`;
    find("hint").textContent = `The prompt has ${prompt_tokens} tokens. ${read}`;
    find("hint").hidden = prompt_tokens <= context_length;
    text.scrollIntoView({ block: "nearest" });
  },
  token(token) {
    count += 1;
    unfinished.push(token);
    if (token.text !== "") addSpan(token.text);
  },
  rest(rest) { addSpan(rest.text); },
  end({ tokens, seconds, ended }) {
    const reason = ended ? `The model ended the ${turn === text ? "text" : "turn"}` : "The text reached its length";
    const seed = isGreedy() ? "" : `, seed ${text.dataset.seed}`;
    showStatus(`${reason}: ${plural(tokens, "token")} in ${seconds.toFixed(1)} s${seed}.`);
  },
  error({ message }) { throw new Error(message); },
};

function isGreedy() { return text.classList.contains("greedy"); }

function addSpan(characters) {
  const sawEnd = hiddenBelow() < 50; // do not scroll away from a reader who has scrolled up
  const span = element("span", "token", characters);
  span.tokens = unfinished;
  unfinished = [];
  const bits = span.tokens.reduce((sum, token) => sum - Math.log2(token.probability), 0);
  span.style.setProperty("--surprise", Math.min(bits / BITS_OF_FULL_COLOR, 1));
  span.classList.toggle("line-end", /^\n+$/.test(characters));
  turn.append(span);
  if (sawEnd && hiddenBelow() > 0) scrollBy(0, hiddenBelow());
}

function hiddenBelow() { return text.getBoundingClientRect().bottom + 24 - innerHeight; } // pixels

function clear() {
  text.replaceChildren();
  hideCard();
  unfinished = [];
  count = 0;
  find("problem").hidden = find("hint").hidden = true;
  showStatus("");
}

function setBusy(busy) {
  text.classList.toggle("writing", busy);
  text.setAttribute("aria-busy", busy);
  const [from, to] = busy ? [find("write"), find("stop")] : [find("stop"), find("write")];
  const hadFocus = document.activeElement === from;
  to.disabled = false;
  from.disabled = true;
  if (hadFocus) to.focus(); // a disabled button cannot keep it
}

function showStatus(message) { find("status").textContent = message; }

function showProblem(message) {
  showStatus("");
  find("problem").textContent = message;
  find("problem").hidden = false;
  find("problem").scrollIntoView({ block: "nearest" });
}

// --- a token in detail -----------------------------------------------------------------------------------------------

let shown = null; // the span that the card describes

text.addEventListener("pointermove", (event) => { // not pointerover: text may scroll under a resting mouse
  if (event.pointerType === "mouse") showCard(event.target.closest(".token"));
});
text.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") hideCard(); });
text.addEventListener("blur", hideCard);
document.addEventListener("click", (event) => showCard(event.target.closest?.(".token"))); // a tap elsewhere hides it
text.addEventListener("keydown", (event) => {
  const spans = [...text.querySelectorAll(".token")];
  const index = spans.indexOf(shown);
  const targets = { ArrowRight: index + 1, ArrowLeft: Math.max(index - 1, 0), Home: 0, End: spans.length - 1 };
  const target = targets[event.key];
  if (event.key === "Escape") hideCard();
  if (target === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  if (spans[target]) {
    spans[target].scrollIntoView({ block: "nearest" });
    showCard(spans[target]);
  }
});
for (const event of ["scroll", "resize"]) addEventListener(event, () => { if (shown) placeCard(); });

function showCard(span) {
  if (span && span === shown) return;
  hideCard();
  if (!span) return;
  shown = span;
  span.classList.add("shown");
  card.replaceChildren(...span.tokens.flatMap(describe));
  if (span.tokens.length > 1) card.prepend(element("p", "note", `${span.tokens.length} tokens together:`));
  card.append(alternatives(span.tokens.at(-1)));
  card.hidden = false;
  placeCard();
}

function hideCard() {
  shown?.classList.remove("shown");
  shown = null;
  card.hidden = true;
}

function placeCard() {
  const box = [...shown.getClientRects()].at(-1); // of its last line
  const below = box.bottom + 8, above = box.top - card.offsetHeight - 8;
  card.style.top = `${below + card.offsetHeight > innerHeight && above > 0 ? above : below}px`;
  const rightmost = document.documentElement.clientWidth - card.offsetWidth - 8;
  card.style.left = `${Math.max(8, Math.min(box.left, rightmost))}px`;
}

function describe(token) {
  const line = element("p"), spelling = element("code", "spelling", visible(token.spelling));
  line.append(element("span", "big", percent(token.probability)), " for ", spelling);
  const index = token.alternatives.findIndex((other) => other.id === token.id);
  const rank = index < 0 ? `not among the ${token.alternatives.length} most probable` : `rank ${index + 1}`;
  return [line, element("p", "note", `token ${token.id}, ${rank}`)];
}

function alternatives(token) {
  const table = element("table");
  table.setAttribute("aria-label", "Most probable tokens");
  for (const other of token.alternatives) {
    const row = table.insertRow();
    row.classList.toggle("drawn", other.id === token.id);
    const spelling = element("td", "spelling", visible(other.spelling));
    spelling.style.setProperty("--share", `${100 * other.probability}%`);
    row.append(spelling, element("td", "", percent(other.probability)));
  }
  return table;
}

// --- helpers ---------------------------------------------------------------------------------------------------------

function element(tag, className = "", content = "") {
  const created = document.createElement(tag);
  created.className = className;
  created.textContent = content;
  return created;
}

function visible(spelling) {
  return spelling.replaceAll(" ", "␣").replaceAll("\n", "↵").replaceAll("\r", "␍").replaceAll("\t", "⇥");
}

function percent(probability) {
  if (probability >= 0.0001) return `${Number((100 * probability).toPrecision(3))} %`;
  return probability > 1e-9 ? `1 in ${Math.round(1 / probability).toLocaleString("en")}` : "under 1 in a billion";
}

function plural(number, noun) { return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`; }
