/** The prediction: a number with its interval on a scale, or the classes with their probabilities. */
import { element } from "./dom.js";
import { percent, short, times } from "./numbers.js";

/**
 * @typedef {{title: string, task: string, target: {name: string, unit: string, meaning: string},
 *   threshold?: number}} Model
 * @typedef {{prediction: any, interval?: [number | null, number | null],
 *   probabilities?: Record<string, number>, set?: string[]}} Answer
 */

/**
 * Show an answer, and return it as a sentence to be spoken.
 *
 * @param {HTMLElement} place
 * @param {Answer} answer
 * @param {Model} model
 * @param {number} level
 * @param {[number, number] | null} common Where the target commonly is.
 */
export function showAnswer(place, answer, model, level, common) {
  place.classList.remove("stale");
  const [parts, sentence] = answer.probabilities
    ? classes(answer, model, level)
    : value(answer, model, level, common);
  place.replaceChildren(...parts);
  return sentence;
}

/**
 * @param {Answer} answer
 * @param {Model} model
 * @param {number} level
 * @param {[number, number] | null} common
 * @returns {[Node[], string]}
 */
function value(answer, model, level, common) {
  const { name } = model.target;
  const unit = times(model.target.unit);
  const big = element(
    "p",
    { class: "big" },
    element("data", { value: answer.prediction }, short(answer.prediction)),
    " ",
    element("span", { class: "unit" }, unit),
  );
  const what = element("p", { class: "soft" }, [name, model.target.meaning].filter(Boolean).join(": "));
  if (!answer.interval) return [[big, what], `${name} ${short(answer.prediction)} ${unit}`];
  const told = inWords(answer.interval, level);
  const parts = [big, what, element("p", { class: "interval" }, told)];
  const [low, high] = answer.interval;
  if (low !== null && high !== null) parts.push(scale(answer.prediction, low, high, common));
  return [parts, `${name} ${short(answer.prediction)} ${unit}. ${told}`];
}

/**
 * @param {[number | null, number | null]} interval
 * @param {number} level
 */
function inWords([low, high], level) {
  const often = `${Math.round(100 * level)}% of such intervals hold the truth`;
  if (low === null && high === null) return "How sure this is, nothing is known of.";
  if (low === null) return `${short(/** @type {number} */ (high))} at most: ${often}.`;
  if (high === null) return `${short(low)} at least: ${often}.`;
  return `${short(low)} to ${short(high)}: ${often}.`;
}

/**
 * The interval on the range where targets commonly are.
 *
 * @param {number} middle
 * @param {number} low
 * @param {number} high
 * @param {[number, number] | null} common
 */
function scale(middle, low, high, common) {
  const from = Math.min(low, middle, common?.[0] ?? low);
  const to = Math.max(high, middle, common?.[1] ?? high);
  const at = (/** @type {number} */ place) => `${(100 * (place - from)) / (to - from || 1)}%`;
  const band = element("span", { class: "band" });
  band.style.left = at(low);
  band.style.width = `calc(${at(high)} - ${at(low)})`;
  const dot = element("span", { class: "dot" });
  dot.style.left = at(middle);
  return element(
    "div",
    { class: "scale", "aria-hidden": "true" },
    element("div", { class: "rail" }, band, dot),
    element(
      "div",
      { class: "line apart soft ends" },
      element("span", {}, short(from)),
      ...(common ? [element("span", {}, "where held-out rows commonly lie")] : []),
      element("span", {}, short(to)),
    ),
  );
}

/**
 * @param {Answer} answer
 * @param {Model} model
 * @param {number} level
 * @returns {[Node[], string]}
 */
function classes(answer, model, level) {
  const chances = Object.entries(answer.probabilities ?? {});
  const positive = chances.length === 2 ? chances[1][0] : null;
  const rows = chances.map(([name, chance]) => {
    const bar = element("span", { class: "bar" });
    bar.style.width = `${100 * chance}%`;
    const rail = element("span", { class: "rail", "aria-hidden": "true" }, bar);
    if (name === positive && model.threshold !== undefined) {
      const mark = element("span", { class: "mark" });
      mark.style.left = `${100 * Math.min(model.threshold, 1)}%`;
      rail.append(mark);
    }
    const chosen = name === answer.prediction;
    const possible = (answer.set ?? []).includes(name);
    return element(
      "li",
      { class: chosen ? "chosen" : possible ? "possible" : null },
      element("span", { class: "name" }, name),
      rail,
      element("data", { value: chance, class: "number" }, percent(chance)),
    );
  });
  const parts = [
    element("p", { class: "big" }, String(answer.prediction)),
    element("p", { class: "soft" }, [model.target.name, model.target.meaning].filter(Boolean).join(": ")),
    element("ul", { class: "chances", "aria-label": "Probability of each class" }, ...rows),
  ];
  const told = inSet(answer.set, chances.length, level);
  if (told) parts.push(element("p", { class: "interval" }, told));
  if (positive !== null && model.threshold !== undefined) {
    parts.push(
      element(
        "p",
        { class: "soft" },
        `Answered “${positive}” from a probability of ${percent(model.threshold)} on.`,
      ),
    );
  }
  const chance = answer.probabilities?.[String(answer.prediction)] ?? 0;
  return [parts, `${answer.prediction}, with a probability of ${percent(chance)}. ${told}`];
}

/**
 * @param {string[] | undefined} names
 * @param {number} of
 * @param {number} level
 */
function inSet(names, of, level) {
  if (!names) return "";
  const often = `in ${Math.round(100 * level)}% of cases the truth is among the classes not ruled out`;
  if (names.length === 1) return `No other class is likely: ${often}.`;
  if (names.length === of) return `No class can be ruled out: ${often}.`;
  return `It may be ${names.slice(0, -1).join(", ")} or ${names.at(-1)}: ${often}.`;
}
