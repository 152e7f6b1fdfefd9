/** CSV as RFC 4180 has it: commas, quotes doubled within quotes, line ends within quotes. */

/**
 * The records of a text, each with the line it begins on, counted from 1. Empty lines are no records.
 *
 * @param {string} text
 * @param {number} most Records read at most.
 * @returns {{line: number, cells: string[]}[]}
 */
export function parse(text, most = Infinity) {
  const records = [];
  const cell = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|\r|\n|$)/y;
  // What spreadsheets write before the first name.
  let at = text.startsWith("\ufeff") ? 1 : 0;
  let line = 1;
  while (at < text.length && records.length < most) {
    const record = { line, cells: /** @type {string[]} */ ([]) };
    for (let end = ","; end === ",";) {
      cell.lastIndex = at;
      const found = cell.exec(text);
      if (!found) return records;
      record.cells.push(found[1]?.replaceAll('""', '"') ?? found[2]);
      line += (found[0].match(/\r\n|\r|\n/g) ?? []).length;
      at = cell.lastIndex;
      end = found[3];
    }
    if (record.cells.length > 1 || record.cells[0]) records.push(record);
  }
  return records;
}

/**
 * One record as a line.
 *
 * @param {any[]} cells
 */
export function write(cells) {
  const written = cells.map((cell) => String(cell ?? ""));
  return written.map((cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(",");
}
