/** A file of rows: sent as it is, shown as it comes back. */
import { parse, write } from "./csv.js";
import { byId, element, table } from "./dom.js";
import { short } from "./numbers.js";
import { Refused, score } from "./service.js";

// Rows of the preview, and faults listed.
const SHOWN = 10;

export class Scoring {
  /**
   * @param {() => number} level How often intervals are to hold the truth.
   * @param {string[]} names The columns that a file has.
   * @param {() => Record<string, any>} example A row to begin with.
   */
  constructor(level, names, example) {
    this.level = level;
    this.text = byId("csv-text");
    this.place = byId("scored");
    /** @type {string | null} Where the browser keeps the last answer. */
    this.address = null;
    const file = byId("csv-file");
    byId("csv").addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#score(new Blob([this.text.value]), "rows.csv");
    });
    byId("csv-example").addEventListener("click", () => {
      const row = example();
      this.text.value = `${write(names)}\n${write(names.map((name) => row[name]))}\n`;
    });
    file.addEventListener("change", () => {
      if (file.files[0]) this.#score(file.files[0], file.files[0].name);
      // So that the same file can be chosen again when it has been mended.
      file.value = "";
    });
    this.#takeDrops(byId("drop"));
  }

  /** @param {HTMLElement} place */
  #takeDrops(place) {
    const over = (/** @type {DragEvent} */ event, /** @type {boolean} */ is) => {
      event.preventDefault();
      place.classList.toggle("over", is);
    };
    place.addEventListener("dragover", (event) => over(event, true));
    place.addEventListener("dragleave", (event) => over(event, false));
    place.addEventListener("drop", (event) => {
      const file = event.dataTransfer?.files[0];
      // Text that is dropped goes where it falls.
      if (!file) return place.classList.remove("over");
      over(event, false);
      this.#score(file, file.name);
    });
  }

  /**
   * @param {Blob} rows
   * @param {string} name
   */
  async #score(rows, name) {
    this.place.replaceChildren(element("p", { class: "soft" }, `Scoring ${name} …`));
    try {
      this.#show(await score(rows, this.level()), name);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.place.replaceChildren(...(await refusal(error, rows, name)));
    }
  }

  /**
   * @param {string} answer
   * @param {string} name
   */
  #show(answer, name) {
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = URL.createObjectURL(new Blob([answer], { type: "text/csv" }));
    const [head, ...rows] = parse(answer).map((record) => record.cells);
    const target = name.replace(/(\.[^.]*)?$/, "_scored.csv");
    const count = `${rows.length.toLocaleString("en")} ${rows.length === 1 ? "row" : "rows"}`;
    const caption = rows.length > SHOWN ? `The first ${SHOWN} of ${count}` : count;
    this.place.replaceChildren(
      element(
        "p",
        { class: "line" },
        element("strong", {}, `${count} scored.`),
        element("a", { class: "button", href: this.address, download: target }, `Download ${target}`),
      ),
      preview(caption, head, rows.slice(0, SHOWN)),
    );
  }
}

/**
 * The answers first, as they are what is new.
 *
 * @param {string} caption
 * @param {string[]} head
 * @param {string[][]} rows
 */
function preview(caption, head, rows) {
  const places = head.map((_, place) => place);
  const own = places.filter((place) => head[place].startsWith("_"));
  const order = [...own, ...places.filter((place) => !own.includes(place))];
  const numeric = order.map((place) =>
    rows.every((row) => row[place] === "" || !Number.isNaN(Number(row[place]))),
  );
  const cells = rows.map((row) =>
    order.map((place, column) =>
      numeric[column] && row[place] ? short(Number(row[place])) : (row[place] ?? ""),
    ),
  );
  const made = table(
    caption,
    order.map((place) => head[place]),
    cells,
    (column) => numeric[column],
  );
  for (const row of made.querySelectorAll("tr")) {
    own.forEach((_, column) => row.children[column].classList.add("own"));
  }
  return made;
}

/**
 * What was refused, and the faults by row and by line of the file.
 *
 * @param {Refused} error
 * @param {Blob} rows
 * @param {string} name
 */
async function refusal(error, rows, name) {
  const parts = [element("p", { class: "alert" }, `${name} was not scored. ${error.message}`)];
  const faults = error.faults.filter((fault) => fault.row !== null);
  if (faults.length) {
    const shown = faults.slice(0, SHOWN);
    const [, ...records] = parse(await rows.text(), 2 + Math.max(...shown.map((fault) => Number(fault.row))));
    const cells = shown.map((fault) => [
      String(records[Number(fault.row)]?.line ?? ""),
      String(fault.row),
      fault.field ?? "",
      fault.rule,
      fault.value === null ? "" : String(fault.value),
    ]);
    const caption = faults.length > SHOWN ? `The first ${SHOWN} of ${faults.length} faults` : "What to mend";
    parts.push(
      table(
        caption,
        ["Line of the file", "Row, from 0", "Column", "Rule", "Found"],
        cells,
        (column) => column < 2,
      ),
    );
  }
  return parts;
}
