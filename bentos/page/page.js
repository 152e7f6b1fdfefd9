/** The page: a row is asked about, explained and shown; files are scored; the model is described. */
import { showModel } from "./about.js";
import { showAnswer } from "./answer.js";
import { byId, element, say } from "./dom.js";
import { Scoring } from "./file.js";
import { Form } from "./form.js";
import { asking, get, post, Refused, useKey } from "./service.js";
import { Waterfall } from "./waterfall.js";

// The certainty to begin with.
const LEVEL = 0.9;
// Milliseconds without a change before the answer is spoken, so that a slider does not talk without end.
const SILENCE = 700;

/**
 * Fill the page from what the service says of itself.
 *
 * @param {any} model
 * @param {any} contract
 */
function start(model, contract) {
  const { title, target } = model;
  document.title = title;
  byId("title").textContent = title;
  byId("purpose").textContent =
    `Predicts ${target.name}` +
    `${target.unit && ` in ${target.unit}`}${target.meaning && `: ${target.meaning}`}.`;
  byId("synthetic").hidden = !model.synthetic;
  showModel(byId("facts"), model);
  const level = startLevel(contract.levels, () => predict());
  const row = () => form.read();
  const waterfall = new Waterfall(byId("why"), contract.made_from);

  const predict = asking(
    () => post("v1/predict", { rows: [row()], interval: level() }),
    (given) => {
      const [shown] = given.predictions;
      form.showFaults([], "");
      say(byId("trouble"), "");
      speak(showAnswer(byId("prediction"), shown, model, level(), contract.target_common));
      waterfall.answered(shown.prediction);
      byId("brief").textContent = byId("prediction").querySelector(".big").textContent;
    },
    (error) => {
      fade();
      const sentence = error.message.replace(/^Row 0: /, "");
      const beside = form.showFaults(error.faults, sentence);
      say(byId("trouble"), beside ? "" : sentence);
      if (error.status === 401) askForKey();
      if (beside) speak(sentence);
    },
  );
  const explain = asking(
    async () => {
      const asked = row();
      return { asked, given: await post("v1/explain", { rows: [asked] }) };
    },
    ({ asked, given }) => waterfall.show(given.explanations[0], asked),
    (error) => {
      if (error.status !== 422) waterfall.refuse(`There is no explanation: ${error.message}`);
    },
  );
  const form = new Form(byId("row"), contract.fields, () => {
    predict();
    explain();
    if (byId("curl").open) showCommand();
  });
  byId("reset").addEventListener("click", () => form.reset());
  const showCommand = () => {
    byId("curl").querySelector("code").textContent = command({ rows: [row()], interval: level() });
  };
  startCommand(showCommand);
  const names = contract.fields.map((/** @type {any} */ field) => field.name);
  new Scoring(level, names, row);
  startCard();
  startBrief();
}

/** While the form is in sight and the prediction is not, its first line stays at the lower edge. */
function startBrief() {
  const seen = new Map();
  const watch = new IntersectionObserver((changes) => {
    for (const { target, isIntersecting } of changes) seen.set(target, isIntersecting);
    byId("brief").hidden = seen.get(byId("prediction")) || !seen.get(byId("row"));
  });
  watch.observe(byId("prediction"));
  watch.observe(byId("row"));
}

/** Mark what is on show as not the row's. */
function fade() {
  byId("prediction").classList.add("stale");
  byId("why").classList.add("stale");
}

/** @type {number | undefined} */
let silence;

/** @param {string} sentence */
function speak(sentence) {
  clearTimeout(silence);
  silence = setTimeout(() => {
    byId("spoken").textContent = sentence;
  }, SILENCE);
}

/**
 * @param {[number, number]} levels
 * @param {() => void} changed
 */
function startLevel([low, high], changed) {
  const slider = byId("level");
  Object.assign(slider, { min: low, max: high, value: LEVEL });
  const tell = () => {
    const told = `${Math.round(100 * slider.value)}%`;
    byId("level-value").textContent = told;
    slider.setAttribute("aria-valuetext", told);
  };
  slider.addEventListener("input", () => {
    tell();
    changed();
  });
  tell();
  return () => Number(slider.value);
}

/** @param {any} content */
function command(content) {
  // Within single quotes a shell takes all but these as they are.
  const body = JSON.stringify(content).replaceAll("'", "'\\''");
  const address = new URL("v1/predict", document.baseURI);
  return `curl '${address}' -H 'Content-Type: application/json' \\\n  -d '${body}'`;
}

/** @param {() => void} show */
function startCommand(show) {
  const place = byId("curl");
  place.addEventListener("toggle", show);
  const copy = place.querySelector("button");
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(place.querySelector("code").textContent);
    copy.textContent = "Copied";
    setTimeout(() => {
      copy.textContent = "Copy";
    }, 2000);
  });
}

/** The card is fetched when somebody opens it. */
function startCard() {
  const place = byId("card-here");
  place.addEventListener(
    "toggle",
    () => {
      if (place.querySelector("iframe")) return;
      place.append(element("iframe", { title: "Model card", src: "v1/card", sandbox: true }));
    },
    { once: true },
  );
}

/** Ask for a key, and begin again with it. */
function askForKey() {
  const form = byId("key");
  if (!form.hidden) return;
  form.hidden = false;
  byId("key-value").focus();
  form.addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    useKey(byId("key-value").value);
    location.reload();
  });
}

try {
  start(...(await Promise.all([get("v1/model"), get("v1/form")])));
} catch (error) {
  if (!(error instanceof Refused)) throw error;
  say(byId("trouble"), error.message);
}
