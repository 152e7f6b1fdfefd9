/** The controls of the form, one kind a type of column. */
import { element, say } from "./dom.js";
import { short } from "./numbers.js";

/**
 * @typedef {{name: string, type: string, unit: string, meaning: string, role: "input" | "checked" | "name",
 *   nullable: boolean, range: [number | null, number | null], common: [number, number] | null,
 *   step: number | null, categories: string[], example: boolean | number | string | null}} Field
 * @typedef {{element: HTMLElement, read: () => any, write: (value: any) => void}} Control
 */

const UNKNOWN = "unknown";
/** @type {Record<string, (field: Field, id: string) => Control>} */
const MAKERS = { number, integer: number, category: choice, boolean, datetime: moment, id: text };
// These have an unknown of their own.
const OWN_UNKNOWN = [choice, boolean, text];

/**
 * The control of a field, within its label. Help and faults are to be added to it, as `<id>-help` and
 * `<id>-fault`.
 *
 * @param {Field} field
 * @param {string} id
 */
export function makeControl(field, id) {
  // What only names a row is text, whatever its type.
  const make = field.role === "name" ? text : MAKERS[field.type];
  const control = make(field, id);
  return field.nullable && !OWN_UNKNOWN.includes(make) ? orUnknown(field, id, control) : control;
}

/**
 * The parts around a control that has one label.
 *
 * @param {Field} field
 * @param {string} id
 * @param {...HTMLElement} controls The first is labelled.
 */
function labelled(field, id, ...controls) {
  controls[0].id = id;
  controls[0].setAttribute("aria-describedby", `${id}-help ${id}-fault`);
  return element(
    "div",
    { class: "field" },
    element(
      "div",
      { class: "line apart" },
      element("label", { for: id, id: `${id}-label` }, ...title(field)),
    ),
    element("div", { class: "controls" }, ...controls),
  );
}

/** @param {Field} field */
function title(field) {
  // Some names say the unit themselves.
  return field.unit && !field.name.endsWith(`(${field.unit})`)
    ? [field.name, " ", element("span", { class: "unit" }, field.unit)]
    : [field.name];
}

/**
 * A number as text and, where it is known what is common, as a slider.
 *
 * @param {Field} field
 * @param {string} id
 * @returns {Control}
 */
function number(field, id) {
  // A text field, as the service and not the browser says what is a number: nothing typed is lost.
  const exact = element("input", { type: "text", inputmode: "decimal", autocomplete: "off", class: "exact" });
  const slider = makeSlider(field, id);
  slider?.addEventListener("input", () => {
    exact.value = slider.value;
    warn();
  });
  const rare = element("p", { class: "help", id: `${id}-rare`, hidden: true });
  const follow = () => {
    if (slider) slider.value = exact.value;
    warn();
  };
  const warn = () => {
    const [low, high] = field.common ?? [-Infinity, Infinity];
    const value = Number(exact.value || low);
    say(
      rare,
      value < low || value > high
        ? `Rare: 98% of the held-out rows have ${short(low)} to ${short(high)}.`
        : "",
    );
  };
  exact.addEventListener("input", follow);
  exact.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const by = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!by || Number.isNaN(Number(exact.value))) return;
    event.preventDefault();
    exact.value = String(rounded(Number(exact.value) + by * (field.step ?? 1), field.step ?? 1));
    exact.dispatchEvent(new Event("input", { bubbles: true }));
  });
  const made = labelled(field, id, exact, ...(slider ? [slider] : []));
  made.append(rare);
  exact.setAttribute("aria-describedby", `${id}-rare ${exact.getAttribute("aria-describedby")}`);
  return {
    element: made,
    read: () => readNumber(exact.value.trim()),
    write: (value) => {
      exact.value = value ?? "";
      follow();
    },
  };
}

/** @param {string} written */
function readNumber(written) {
  if (!written) return undefined;
  const value = Number(written);
  return Number.isFinite(value) ? value : written;
}

/**
 * @param {number} value
 * @param {number} step A power of ten; the value may be ten times as fine.
 */
function rounded(value, step) {
  return Number(value.toFixed(Math.max(0, 2 - Math.round(Math.log10(step)))));
}

/**
 * @param {Field} field
 * @param {string} id
 */
function makeSlider(field, id) {
  const [low, high] = field.common ?? field.range;
  if (low === null || high === null || !field.step) return null;
  const [least, most] = field.range;
  const from = rounded(Math.floor(low / field.step) * field.step, field.step);
  const to = rounded(Math.ceil(high / field.step) * field.step, field.step);
  return element("input", {
    type: "range",
    min: Math.max(from, least ?? from),
    max: Math.min(to, most ?? to),
    step: field.step,
    "aria-labelledby": `${id}-label`,
    "aria-describedby": `${id}-help`,
  });
}

/**
 * @param {Field} field
 * @param {string} id
 * @returns {Control}
 */
function choice(field, id) {
  const options = field.categories.map((name, position) => element("option", { value: position }, name));
  if (field.nullable) options.push(element("option", { value: UNKNOWN }, UNKNOWN));
  const select = element("select", {}, ...options);
  return {
    element: labelled(field, id, select),
    read: () => (select.value === UNKNOWN ? null : field.categories[Number(select.value)]),
    write: (value) => {
      const at = field.categories.indexOf(value);
      select.value = at >= 0 ? String(at) : field.nullable ? UNKNOWN : "0";
    },
  };
}

/**
 * Yes or no, and unknown where the contract allows it.
 *
 * @param {Field} field
 * @param {string} id
 * @returns {Control}
 */
function boolean(field, id) {
  const states = field.nullable ? [true, false, null] : [true, false];
  const radios = states.map((state) => element("input", { type: "radio", name: id, value: state }));
  const labels = states.map((state, position) => {
    radios[position].value = String(state);
    return element("label", {}, radios[position], state === null ? UNKNOWN : state ? "yes" : "no");
  });
  return {
    element: element(
      "fieldset",
      { class: "field", id, "aria-describedby": `${id}-help ${id}-fault` },
      element("legend", {}, ...title(field)),
      element("div", { class: "controls states" }, ...labels),
    ),
    read: () => states[radios.findIndex((radio) => radio.checked)],
    write: (value) =>
      radios.forEach((radio, position) => {
        radio.checked = states[position] === (value ?? (field.nullable ? null : false));
      }),
  };
}

/**
 * @param {Field} field
 * @param {string} id
 * @returns {Control}
 */
function moment(field, id) {
  const input = element("input", { type: "datetime-local" });
  return {
    element: labelled(field, id, input),
    read: () => input.value || undefined,
    write: (value) => {
      // To the minute, as the browser's own control asks for it.
      input.value = value ? String(value).slice(0, "2000-01-01T00:00".length) : "";
    },
  };
}

/**
 * @param {Field} field
 * @param {string} id
 * @returns {Control}
 */
function text(field, id) {
  const input = element("input", { type: "text", autocomplete: "off" });
  return {
    element: labelled(field, id, input),
    read: () => input.value || null,
    write: (value) => {
      input.value = value ?? "";
    },
  };
}

/**
 * A control beside a box to tick where the value is not known.
 *
 * @param {Field} field
 * @param {string} id
 * @param {Control} control
 * @returns {Control}
 */
function orUnknown(field, id, control) {
  const box = element("input", { type: "checkbox", id: `${id}-unknown` });
  const inputs = [...control.element.querySelectorAll("input")];
  const apply = () => {
    for (const input of inputs) input.disabled = box.checked;
  };
  box.addEventListener("input", apply);
  control.element
    .querySelector(".line")
    ?.append(
      element("label", { class: "unknown" }, box, element("span", { class: "unseen" }, field.name), UNKNOWN),
    );
  return {
    element: control.element,
    read: () => (box.checked ? null : control.read()),
    write: (value) => {
      control.write(value);
      box.checked = value === null;
      apply();
    },
  };
}
