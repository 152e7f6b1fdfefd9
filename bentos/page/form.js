/** The form: one field a feature, made from `v1/form`. */
import { makeControl } from "./controls.js";
import { element, say } from "./dom.js";
import { short } from "./numbers.js";

/**
 * @typedef {import("./controls.js").Field} Field
 * @typedef {import("./controls.js").Control} Control
 * @typedef {import("./service.js").Fault} Fault
 */

export class Form {
  /**
   * @param {HTMLFormElement} place
   * @param {Field[]} fields
   * @param {() => void} changed Called whenever the row is another.
   */
  constructor(place, fields, changed) {
    this.fields = fields;
    /** @type {Map<string, Control>} */
    this.controls = new Map();
    /** @type {Map<string, HTMLElement>} */
    this.faults = new Map();
    this.changed = changed;
    const made = fields.map((field, position) => this.#make(field, `field-${position}`));
    const others = made.filter((_, position) => fields[position].role !== "input");
    const inputs = made.filter((_, position) => fields[position].role === "input");
    place.replaceChildren(element("div", { class: "fields" }, ...inputs));
    if (others.length) {
      place.append(
        element(
          "details",
          { class: "others" },
          element("summary", {}, "Fields that the model does not use"),
          element("div", { class: "fields" }, ...others),
        ),
      );
    }
    place.addEventListener("input", changed);
    place.addEventListener("submit", (event) => {
      event.preventDefault();
      changed();
    });
    this.reset();
  }

  /** The row as the service takes it; what was left empty is left out. */
  read() {
    /** @type {Record<string, any>} Without a prototype, as a column may have the name of what is in it. */
    const row = Object.create(null);
    for (const field of this.fields) {
      const value = this.controls.get(field.name)?.read();
      if (value !== undefined && !(value === null && field.role !== "input")) row[field.name] = value;
    }
    return row;
  }

  /** Begin again with the example. */
  reset() {
    for (const field of this.fields) this.controls.get(field.name)?.write(field.example);
    this.changed();
  }

  /**
   * Show a sentence beside each field that a fault names, and return whether there is one.
   *
   * @param {Fault[]} faults
   * @param {string} sentence
   */
  showFaults(faults, sentence) {
    const named = new Set(faults.map((fault) => fault.field));
    for (const [name, place] of this.faults) {
      say(place, named.has(name) ? sentence : "");
      if (named.has(name)) place.closest("details")?.setAttribute("open", "");
      for (const control of place.parentElement?.querySelectorAll("input, select") ?? []) {
        if (named.has(name)) control.setAttribute("aria-invalid", "true");
        else control.removeAttribute("aria-invalid");
      }
    }
    return [...this.faults.keys()].some((name) => named.has(name));
  }

  /**
   * @param {Field} field
   * @param {string} id
   */
  #make(field, id) {
    const control = makeControl(field, id);
    const fault = element("p", { class: "fault", id: `${id}-fault`, hidden: true });
    this.controls.set(field.name, control);
    this.faults.set(field.name, fault);
    control.element.dataset.field = field.name;
    control.element.append(element("p", { class: "help", id: `${id}-help` }, help(field)), fault);
    return control.element;
  }
}

/** @param {Field} field */
function help(field) {
  const [low, high] = field.range;
  const allowed =
    low !== null && high !== null
      ? `${short(low)} to ${short(high)}`
      : low !== null
        ? `${short(low)} or more`
        : high !== null
          ? `${short(high)} or less`
          : "";
  const kind =
    field.type === "datetime"
      ? "in UTC"
      : field.type === "integer" && field.role !== "name" && !allowed
        ? "a whole number"
        : "";
  return [field.meaning, allowed, kind].filter(Boolean).join(" · ");
}
