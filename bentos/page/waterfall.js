/** What made the prediction: from the model's starting point, feature by feature, to the answer. */
import { element } from "./dom.js";
import { short, within } from "./numbers.js";

/**
 * @typedef {{name: string, base: number, prediction: number, contributions: Record<string, number>}} Output
 * @typedef {{scale: string, outputs: Output[]}} Explanation
 * @typedef {{name: string, label: string, value: string, start: number, end: number, total: boolean}} Step
 */

// Features shown by name; what the others add is one line.
const SHOWN = 10;

export class Waterfall {
  /**
   * @param {HTMLElement} place
   * @param {Record<string, string[]>} madeFrom The fields that the model's own features are made from.
   */
  constructor(place, madeFrom) {
    this.place = place;
    this.madeFrom = madeFrom;
    /** @type {Explanation | null} */
    this.explanation = null;
    /** @type {Record<string, any>} */
    this.row = {};
    /** @type {any} */
    this.prediction = null;
    /** @type {string | null} Of several outputs, the one that was asked for. */
    this.chosen = null;
    this.choice = element("select", {
      id: "output",
      input: () => {
        this.chosen = this.choice.value;
        this.#draw();
      },
    });
    this.chooser = element(
      "p",
      { class: "line chooser" },
      element("label", { for: "output" }, "What speaks for"),
      this.choice,
    );
    this.caption = element("caption");
    this.body = element("tbody");
    this.table = element(
      "table",
      { class: "waterfall" },
      this.caption,
      element("colgroup", {}, ...["what", "way", "much"].map((name) => element("col", { class: name }))),
      element(
        "thead",
        { class: "unseen" },
        element(
          "tr",
          {},
          ...["Feature", "From where to where", "Adds"].map((name) => element("th", { scope: "col" }, name)),
        ),
      ),
      this.body,
    );
    /** @type {Map<string, HTMLElement>} Rows by feature, kept so that bars move and do not jump. */
    this.rows = new Map();
  }

  /**
   * @param {Explanation} explanation
   * @param {Record<string, any>} row What was explained.
   */
  show(explanation, row) {
    this.explanation = explanation;
    this.row = row;
    const names = explanation.outputs.map((output) => output.name);
    if (this.choice.options.length !== names.length) {
      this.choice.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
    }
    this.place.classList.remove("stale");
    this.place.replaceChildren(
      element("h3", {}, "Why"),
      ...(names.length > 1 ? [this.chooser] : []),
      this.table,
    );
    this.#draw();
  }

  /**
   * @param {any} prediction What was answered: of several classes, the one whose way is shown, unless
   *   another was asked for.
   */
  answered(prediction) {
    this.prediction = prediction;
    if (this.explanation) this.#draw();
  }

  /** @param {string} sentence Why there is nothing to show. */
  refuse(sentence) {
    this.place.classList.remove("stale");
    this.place.replaceChildren(element("h3", {}, "Why"), element("p", { class: "soft" }, sentence));
  }

  #draw() {
    const { scale, outputs } = /** @type {Explanation} */ (this.explanation);
    const wanted = this.chosen ?? String(this.prediction);
    const output = outputs.find(({ name }) => name === wanted) ?? outputs[0];
    this.choice.value = output.name;
    this.caption.textContent = `What each feature adds, in ${scale}`;
    const steps = walk(output, this.row, this.madeFrom);
    const ends = steps.flatMap((step) => [step.start, step.end]);
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    const span = high - low || 1;
    // A little room on both sides.
    this.body.replaceChildren(...steps.map((step) => this.#line(step, low - span / 50, span * 1.04)));
  }

  /**
   * @param {Step} step
   * @param {number} low
   * @param {number} span
   */
  #line(step, low, span) {
    const row = this.rows.get(step.name) ?? newRow();
    this.rows.set(step.name, row);
    const [head, track, number] = row.children;
    const change = step.end - step.start;
    row.className = step.total ? "total" : change < 0 ? "down" : change > 0 ? "up" : "";
    head.replaceChildren(
      element("span", { class: "name" }, step.label),
      ...(step.value ? [" ", element("span", { class: "soft" }, step.value)] : []),
    );
    const at = (/** @type {number} */ place) => (100 * (place - low)) / span;
    const bar = /** @type {HTMLElement} */ (track.firstElementChild?.firstElementChild);
    bar.style.left = `${at(Math.min(step.start, step.end))}%`;
    bar.style.width = `${(100 * Math.abs(change)) / span}%`;
    const shown = step.total ? within(step.end, span) : within(change, span, true);
    number.replaceChildren(element("data", { value: step.total ? step.end : change }, shown));
    return row;
  }
}

/** @returns {HTMLElement} */
function newRow() {
  return element(
    "tr",
    {},
    element("th", { scope: "row" }),
    element(
      "td",
      { class: "track" },
      element("span", { class: "rail", "aria-hidden": "true" }, element("span", { class: "bar" })),
    ),
    element("td", { class: "number" }),
  );
}

/**
 * The way from the base to the prediction, the largest contributions first.
 *
 * @param {Output} output
 * @param {Record<string, any>} row
 * @param {Record<string, string[]>} madeFrom
 * @returns {Step[]}
 */
function walk(output, row, madeFrom) {
  const ranked = Object.entries(output.contributions).sort(
    ([, one], [, other]) => Math.abs(other) - Math.abs(one),
  );
  const shown = ranked.length > SHOWN + 1 ? ranked.slice(0, SHOWN) : ranked;
  const others = ranked.slice(shown.length);
  let end = output.base;
  const steps = shown.map(([name, value]) => {
    const start = end;
    end += value;
    return {
      name: `feature ${name}`,
      label: name,
      value: name in row ? told(row[name]) : name in madeFrom ? `from ${madeFrom[name].join(", ")}` : "",
      start,
      end,
      total: false,
    };
  });
  if (others.length) {
    steps.push({
      name: "others",
      label: `${others.length} others together`,
      value: "",
      start: end,
      end: output.prediction,
      total: false,
    });
  }
  const base = {
    name: "base",
    label: "Without knowing the row",
    value: "",
    start: output.base,
    end: output.base,
    total: true,
  };
  const last = {
    name: "prediction",
    label: "This row",
    value: "",
    start: output.prediction,
    end: output.prediction,
    total: true,
  };
  return [base, ...steps, last];
}

/** @param {any} value */
function told(value) {
  if (value === null) return "unknown";
  return typeof value === "number"
    ? short(value)
    : typeof value === "boolean"
      ? value
        ? "yes"
        : "no"
      : String(value).replace("T", " ");
}
