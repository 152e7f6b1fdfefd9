/**
 * Make an element.
 *
 * @param {string} tag
 * @param {Record<string, any>} attributes Functions are listeners of the event they are named for; true
 *   sets an attribute, false and null leave it out.
 * @param {...(Node | string)} children
 * @returns {any}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, String(value));
  }
  made.append(...children);
  return made;
}

/**
 * The document's element with this id.
 *
 * @param {string} id
 * @returns {any}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`There is no element '${id}'.`);
  return found;
}

/**
 * Show a sentence in an element, or hide it.
 *
 * @param {HTMLElement} place
 * @param {string} sentence
 */
export function say(place, sentence) {
  place.textContent = sentence;
  place.hidden = !sentence;
}

/**
 * A table in a frame of its own that scrolls sideways, by keyboard too.
 *
 * @param {string} caption
 * @param {(string | Node)[]} head
 * @param {(string | Node)[][]} rows The first cell of each is its heading.
 * @param {(column: number) => boolean} isNumber
 */
export function table(caption, head, rows, isNumber = () => false) {
  const type = (/** @type {number} */ column) => (isNumber(column) ? "number" : null);
  const body = rows.map((cells) =>
    element(
      "tr",
      {},
      ...cells.map((cell, column) =>
        column
          ? element("td", { class: type(column) }, cell)
          : element("th", { scope: "row", class: type(0) }, cell),
      ),
    ),
  );
  return element(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    element(
      "table",
      {},
      element("caption", {}, caption),
      element(
        "thead",
        {},
        element(
          "tr",
          {},
          ...head.map((cell, column) => element("th", { scope: "col", class: type(column) }, cell)),
        ),
      ),
      element("tbody", {}, ...body),
    ),
  );
}
