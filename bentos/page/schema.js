/** JSON Schema in words: its members as a list, one within another. */
import { element } from "./dom.js";
import { short } from "./numbers.js";

// How deep members are shown; deeper ones are named by their type.
const DEEPEST = 5;
// Values of an enumeration that are listed.
const LISTED = 12;

/**
 * @typedef {Record<string, any>} Schema
 */

/**
 * What a schema's `$ref` stands for, within the document.
 *
 * @param {Schema} schema
 * @param {any} document
 * @returns {Schema}
 */
export function resolve(schema, document) {
  if (!schema?.$ref) return schema ?? {};
  const path = schema.$ref
    .replace(/^#\//, "")
    .split("/")
    .map((/** @type {string} */ part) =>
      decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~"),
    );
  const found = path.reduce((/** @type {any} */ at, /** @type {string} */ part) => at?.[part], document);
  const { $ref: _, ...beside } = schema;
  return { ...resolve(found, document), ...beside };
}

/**
 * A schema as its type in words, and its members.
 *
 * @param {Schema} schema
 * @param {any} document
 * @param {boolean} required
 * @returns {Node[]}
 */
export function describe(schema, document, required = true, depth = 0) {
  const whole = resolve(schema, document);
  const parts = [element("span", { class: "type" }, typeOf(whole, document))];
  const limits = limitsOf(whole);
  if (limits) parts.push(element("span", {}, ` ${limits}`));
  if (whole.description) parts.push(element("span", { class: "soft" }, ` ${whole.description}`));
  if (!required) parts.push(element("span", { class: "soft" }, " · may be left out"));
  if (depth < DEEPEST) parts.push(...members(whole, document, depth));
  return parts;
}

/**
 * @param {Schema} schema
 * @param {any} document
 * @param {number} depth
 * @returns {Node[]}
 */
function members(schema, document, depth) {
  const object = objectIn(schema, document);
  if (!object) return [];
  const required = new Set(object.required ?? []);
  const items = Object.entries(object.properties ?? {}).map(([name, member]) =>
    element(
      "li",
      {},
      element("code", {}, name),
      " ",
      ...describe(/** @type {Schema} */ (member), document, required.has(name), depth + 1),
    ),
  );
  if (object.additionalProperties && typeof object.additionalProperties === "object") {
    items.push(
      element(
        "li",
        {},
        element("em", {}, "any name"),
        " ",
        ...describe(object.additionalProperties, document, true, depth + 1),
      ),
    );
  }
  return items.length ? [element("ul", { class: "members" }, ...items)] : [];
}

/**
 * The object that a schema is, or is a list or a choice of.
 *
 * @param {Schema} schema
 * @param {any} document
 * @returns {Schema | null}
 */
function objectIn(schema, document) {
  if (schema.properties || schema.additionalProperties) return schema;
  for (const inner of [schema.items, ...(schema.anyOf ?? schema.oneOf ?? schema.allOf ?? [])]) {
    const found = inner && objectIn(resolve(inner, document), document);
    if (found) return found;
  }
  return null;
}

/**
 * @param {Schema} schema
 * @param {any} document
 * @returns {string}
 */
function typeOf(schema, document) {
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices)
    return [
      ...new Set(choices.map((/** @type {Schema} */ one) => typeOf(resolve(one, document), document))),
    ].join(" or ");
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) {
    const listed = schema.enum
      .slice(0, LISTED)
      .map((/** @type {any} */ value) => JSON.stringify(value))
      .join(", ");
    return `one of ${listed}${schema.enum.length > LISTED ? ", …" : ""}`;
  }
  const names = [schema.type ?? "anything"].flat();
  return names
    .map((name) =>
      name === "array" && schema.items
        ? `list of ${typeOf(resolve(schema.items, document), document)}`
        : schema.format && name !== "null"
          ? `${name} (${schema.format})`
          : name,
    )
    .join(" or ");
}

/** @param {Schema} schema */
function limitsOf(schema) {
  const inner =
    (schema.anyOf ?? schema.oneOf ?? []).find(
      (/** @type {Schema} */ one) => "minimum" in one || "maximum" in one,
    ) ?? schema;
  const { minimum: low, maximum: high, minItems: fewest, maxItems: most, multipleOf } = inner;
  // What only keeps numbers finite is no news to people.
  const known = (/** @type {number | undefined} */ end) => end !== undefined && Math.abs(end) < 2 ** 53;
  return [
    multipleOf === 1 && "whole",
    known(low) && known(high)
      ? `from ${short(low)} to ${short(high)}`
      : known(low)
        ? `at least ${short(low)}`
        : known(high) && `at most ${short(high)}`,
    most !== undefined && `${fewest ?? 0} to ${most.toLocaleString("en")} of them`,
  ]
    .filter(Boolean)
    .join(", ");
}
