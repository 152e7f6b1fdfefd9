/** Asking the service. Paths are relative to the page, which a proxy may have put under a prefix. */

/** @typedef {{row: number | null, field: string | null, rule: string, value: any}} Fault */

// In milliseconds; an answer that takes longer is not waited for.
const PATIENCE = 60_000;
const KEY = "millrace-key";

/** What the service, or the way to it, refused: a sentence, and the rows and fields it names. */
export class Refused extends Error {
  /**
   * @param {number} status 0 where there was no answer at all.
   * @param {string} detail
   * @param {Fault[]} faults
   */
  constructor(status, detail, faults = []) {
    super(detail);
    this.status = status;
    this.faults = faults;
  }
}

/**
 * Keep the key that requests are sent with, as long as this tab is open.
 *
 * @param {string} key
 */
export function useKey(key) {
  sessionStorage.setItem(KEY, key);
}

/**
 * The JSON at a path.
 *
 * @param {string} path
 * @returns {Promise<any>}
 */
export function get(path) {
  return ask(path, {}, (answer) => answer.json());
}

/**
 * The JSON that answers JSON.
 *
 * @param {string} path
 * @param {any} content
 * @returns {Promise<any>}
 */
export function post(path, content) {
  const headers = { "Content-Type": "application/json" };
  return ask(path, { method: "POST", headers, body: JSON.stringify(content) }, (answer) => answer.json());
}

/**
 * The CSV with answers for a CSV of rows.
 *
 * @param {Blob} rows
 * @param {number} level How often intervals are to hold the truth.
 */
export function score(rows, level) {
  const headers = { "Content-Type": "text/csv", Accept: "text/csv, application/problem+json" };
  const request = { method: "POST", headers, body: rows };
  return ask(`v1/predict?interval=${level}`, request, (answer) => answer.text());
}

/**
 * @template T
 * @param {string} path
 * @param {RequestInit} request
 * @param {(answer: Response) => Promise<T>} read
 */
async function ask(path, request, read) {
  const key = sessionStorage.getItem(KEY);
  // Where a challenger serves too, rows without a key go now to the one and now to the other: a slider would
  // make the prediction jump. The champion is also the one that explains.
  const headers = {
    "X-Millrace-Variant": "champion",
    ...request.headers,
    ...(key && { Authorization: `Bearer ${key}` }),
  };
  try {
    const answer = await fetch(path, { ...request, headers, signal: AbortSignal.timeout(PATIENCE) });
    if (!answer.ok) throw await refusal(answer);
    return await read(answer);
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw new Refused(
      0,
      "The service gives no answer that can be read. It may be starting, or this device is offline.",
    );
  }
}

/** @param {Response} answer */
async function refusal(answer) {
  const problem = await answer.json().catch(() => ({}));
  const detail = problem.detail ?? `The service answered ${answer.status} ${answer.statusText}.`;
  return new Refused(answer.status, detail, problem.errors ?? []);
}

/**
 * A trigger for asking over and over while something changes.
 *
 * One question is on its way at a time. What changes meanwhile is asked once when the answer is there, so
 * that no answer comes late and none piles up, however slow the service is.
 *
 * @template T
 * @param {() => Promise<T>} question
 * @param {(answer: T) => void} show
 * @param {(error: Refused) => void} fail
 */
export function asking(question, show, fail) {
  // Milliseconds for changes that come together, as those of a slider do.
  const pause = 30;
  let running = false;
  let again = false;

  async function run() {
    await new Promise((resolve) => setTimeout(resolve, pause));
    again = false;
    const [answer, error] = await question().then(
      (given) => [given, null],
      (thrown) => [null, thrown],
    );
    running = again;
    if (again) run();
    // What is wrong with a row that has changed meanwhile is of no use.
    if (!error) show(answer);
    else if (!(error instanceof Refused)) throw error;
    else if (!again) fail(error);
  }

  return () => {
    again = true;
    if (!running) {
      running = true;
      run();
    }
  };
}
