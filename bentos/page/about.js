/** What the service says of its model. */
import { element, table } from "./dom.js";
import { percent, short } from "./numbers.js";

/**
 * @typedef {{value: number, low: number, high: number}} Metric
 * @typedef {{metric_name: string, rows: number, metrics: Record<string, Metric>}} Evaluation
 */

/** @type {Record<string, string>} */
const TASKS = { regression: "a number", binary: "one of two classes", multiclass: "one of several classes" };
// How much of a digest tells it from others.
const DIGITS = 12;

/**
 * Facts and metrics; beside a challenger's, where there is one.
 *
 * @param {HTMLElement} place
 * @param {any} model The content of `v1/model`.
 */
export function showModel(place, model) {
  const { target, trained } = model;
  const facts = [
    ["Name", `${model.name}, version ${model.version}`],
    ["Predicts", `${target.name}, ${TASKS[model.task]}${target.unit ? ` in ${target.unit}` : ""}`],
    ["Trained", new Date(trained.created).toLocaleString("en", { dateStyle: "long", timeStyle: "short" })],
    [
      "On",
      `${trained.data.rows.toLocaleString("en")} rows of ${trained.data.origin}` +
        (model.synthetic ? ", synthetic" : ""),
    ],
    [
      "By",
      [trained.run?.name, trained.git_revision && `commit ${trained.git_revision.slice(0, DIGITS)}`]
        .filter(Boolean)
        .join(", "),
    ],
    ["Digest", element("code", { title: model.digest }, model.digest.slice(0, DIGITS))],
  ].filter(([, fact]) => fact);
  const list = element(
    "dl",
    {},
    ...facts.flatMap(([name, fact]) => [element("dt", {}, name), element("dd", {}, fact)]),
  );
  place.replaceChildren(list, metrics(model));
}

/** @param {any} model */
function metrics(model) {
  const variants = model.variants?.length > 1 ? model.variants : [];
  const evaluations = variants.length
    ? variants.map(
        (/** @type {any} */ one) => one.evaluation ?? (one.digest === model.digest ? model.evaluation : null),
      )
    : [model.evaluation];
  const heads = variants.map(
    (/** @type {any} */ one) =>
      `${one.variant}, version ${one.version}` +
      (one.share == null ? "" : `, ${percent(one.share)} of requests`),
  );
  const [first] = evaluations.filter(Boolean);
  const caption = `On ${first.rows.toLocaleString("en")} rows that were held out`;
  const rows = Object.keys(first.metrics).map((name) => [
    name,
    ...evaluations.map((/** @type {Evaluation | null} */ one) => withInterval(one?.metrics[name])),
  ]);
  return table(
    caption,
    ["Metric", ...(heads.length ? heads : ["Value and interval"])],
    rows,
    (column) => column > 0,
  );
}

/** @param {Metric | undefined} metric */
function withInterval(metric) {
  if (!metric) return "not told";
  return element(
    "span",
    {},
    short(metric.value),
    " ",
    element("span", { class: "soft" }, `${short(metric.low)} to ${short(metric.high)}`),
  );
}
