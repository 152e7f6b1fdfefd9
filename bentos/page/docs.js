/** The documentation, from openapi.json: each route's parameters, bodies, answers and a command to try. */
import { byId, element, say } from "./dom.js";
import { describe, resolve } from "./schema.js";
import { get, Refused } from "./service.js";

const METHODS = ["get", "post", "put", "patch", "delete"];

/**
 * @typedef {{method: string, path: string, operation: any, id: string}} Route
 */

/** @param {any} document The OpenAPI document. */
function show(document) {
  const { info } = document;
  globalThis.document.title = `API of ${info.title}`;
  byId("title").textContent = info.title;
  byId("about").replaceChildren(...prose(info.description), element("p", {}, `Version ${info.version}.`));
  const routes = Object.entries(document.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({
      method,
      path,
      operation: {
        ...item[method],
        parameters: [...(item.parameters ?? []), ...(item[method].parameters ?? [])],
      },
      id: `${method}${path.replaceAll(/[^a-zA-Z0-9]+/g, "-")}`,
    })),
  );
  byId("contents").replaceChildren(
    element(
      "ul",
      {},
      ...routes.map((route) => element("li", {}, element("a", { href: `#${route.id}` }, ...name(route)))),
    ),
  );
  byId("routes").replaceChildren(...routes.map((route) => section(route, document)));
  // Now there is what the address may point to.
  if (location.hash) globalThis.document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

/** @param {Route} route */
function name({ method, path }) {
  return [
    element("span", { class: `method ${method}` }, method.toUpperCase()),
    " ",
    element("span", { class: "path" }, path),
  ];
}

/**
 * @param {Route} route
 * @param {any} document
 */
function section(route, document) {
  const { summary, description, parameters, requestBody, responses } = route.operation;
  const body = resolve(requestBody, document);
  const parts = [element("h2", {}, ...name(route))];
  if (summary) parts.push(element("p", {}, element("strong", {}, summary)));
  parts.push(...prose(description));
  if (parameters.length) parts.push(element("h3", {}, "Parameters"), parameterList(parameters, document));
  if (body.content) parts.push(element("h3", {}, "What it takes"), ...contents(body.content, document));
  parts.push(
    element("h3", {}, "Try it"),
    code(command(route, body, document), `curl command for ${route.path}`),
  );
  parts.push(element("h3", {}, "What it answers"));
  for (const [status, given] of Object.entries(responses ?? {})) {
    const answer = resolve(/** @type {any} */ (given), document);
    const heading = element("h4", {}, element("code", {}, status), ` ${answer.description ?? ""}`);
    parts.push(heading, ...contents(answer.content ?? {}, document));
  }
  return element(
    "article",
    { class: "route", id: route.id, "aria-label": `${route.method.toUpperCase()} ${route.path}` },
    ...parts,
  );
}

/**
 * @param {any[]} parameters
 * @param {any} document
 */
function parameterList(parameters, document) {
  return element(
    "ul",
    { class: "members" },
    ...parameters.map((given) => {
      const { name, in: place, description, required, schema } = resolve(given, document);
      return element(
        "li",
        {},
        element("code", {}, name),
        ` in ${place}, `,
        ...describe({ description, ...schema }, document, Boolean(required)),
      );
    }),
  );
}

/**
 * Bodies by media type, folded, as a table's row may have a hundred fields.
 *
 * @param {Record<string, any>} content
 * @param {any} document
 */
function contents(content, document) {
  return Object.entries(content).map(([type, media]) => {
    const example = exampleOf(media, document);
    const parts = media.schema ? [element("div", {}, ...describe(media.schema, document))] : [];
    if (example !== undefined) parts.push(code(pretty(example), `Example of ${type}`));
    const label = element("code", {}, type);
    return parts.length
      ? element("details", {}, element("summary", {}, label), ...parts)
      : element("p", {}, label);
  });
}

/**
 * @param {any} media
 * @param {any} document
 */
function exampleOf(media, document) {
  if ("example" in media) return media.example;
  const [first] = Object.values(media.examples ?? {});
  if (first) return resolve(/** @type {any} */ (first), document).value;
  return resolve(media.schema, document).examples?.[0];
}

/**
 * @param {Route} route
 * @param {any} body
 * @param {any} document
 */
function command({ method, path }, body, document) {
  const address = new URL(path.replace(/^\//, ""), globalThis.document.baseURI).href;
  const parts = [method === "get" ? `curl '${address}'` : `curl -X ${method.toUpperCase()} '${address}'`];
  const [first] = Object.entries(body.content ?? {});
  if (first) {
    const [type, media] = first;
    const example = exampleOf(media, document);
    parts.push(`  -H 'Content-Type: ${type}'`);
    // Within single quotes a shell takes all but these as they are.
    parts.push(`  -d '${example === undefined ? "…" : asText(example).replaceAll("'", "'\\''")}'`);
  }
  return parts.join(" \\\n");
}

/** @param {any} example */
function asText(example) {
  return typeof example === "string" ? example : JSON.stringify(example);
}

/** @param {any} example */
function pretty(example) {
  return typeof example === "string" ? example : JSON.stringify(example, null, 2);
}

/**
 * @param {string} text
 * @param {string} label
 */
function code(text, label) {
  return element("pre", { tabindex: 0, role: "group", "aria-label": label }, element("code", {}, text));
}

/** @param {string | undefined} text */
function prose(text) {
  return (text ?? "")
    .split(/\n{2,}/)
    .filter(Boolean)
    .map((paragraph) => element("p", {}, paragraph));
}

try {
  show(await get("openapi.json"));
} catch (error) {
  if (!(error instanceof Refused)) throw error;
  say(byId("trouble"), error.message);
}
