/* Run in the page by test_page.py: what can be found wrong with its looks and its structure. */

function visible(one) {
  return (
    one.checkVisibility({ opacityProperty: false, visibilityProperty: true }) &&
    one.getClientRects().length > 0
  );
}

/** Red, green, blue and opacity of a colour as the browser computes it. */
function channels(colour) {
  const [red, green, blue, alpha = 1] = colour.match(/[\d.]+/g).map(Number);
  return { rgb: [red, green, blue], alpha };
}

function over(above, below, alpha) {
  return above.map((channel, i) => alpha * channel + (1 - alpha) * below[i]);
}

function background(one) {
  if (!one) return [255, 255, 255];
  const { rgb, alpha } = channels(getComputedStyle(one).backgroundColor);
  return alpha === 1 ? rgb : over(rgb, background(one.parentElement), alpha);
}

/** Relative luminance and contrast of WCAG 2. */
function luminance(rgb) {
  const [red, green, blue] = rgb.map((channel) => {
    const share = channel / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one, other) {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

/** Texts under 4.5 to 1, large ones under 3 to 1, and edges of controls under 3 to 1. */
function contrastFaults() {
  const faults = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (texts.nextNode()) {
    const one = texts.currentNode.parentElement;
    if (
      !texts.currentNode.data.trim() ||
      seen.has(one) ||
      !visible(one) ||
      one.closest("script, noscript, option")
    )
      continue;
    seen.add(one);
    const style = getComputedStyle(one);
    const large = parseFloat(style.fontSize) >= 24;
    const found = contrast(channels(style.color).rgb, background(one));
    if (found < (large ? 3 : 4.5))
      faults.push(`${one.tagName} ${one.className} ${one.textContent.slice(0, 30)}: ${found.toFixed(2)}`);
  }
  for (const one of document.querySelectorAll("input[type=text], select, textarea, button, .bar, .band")) {
    if (!visible(one)) continue;
    const style = getComputedStyle(one);
    const shown = one.matches(".bar")
      ? style.backgroundColor
      : one.matches(".band")
        ? null
        : style.borderTopColor;
    if (shown && contrast(channels(shown).rgb, background(one.parentElement)) < 3)
      faults.push(`edge of ${one.id || one.className}`);
  }
  return faults;
}

function nameOf(one) {
  const by = (one.getAttribute("aria-labelledby") ?? "")
    .split(" ")
    .map((id) => document.getElementById(id)?.textContent ?? "");
  const labels = [...(one.labels ?? [])].map((label) => label.textContent);
  const own = one.matches("input, select, textarea") ? "" : one.textContent;
  return [one.getAttribute("aria-label"), ...by, ...labels, own].join("").trim();
}

/** What a screen reader would stumble over. */
function structureFaults() {
  const faults = [];
  const all = [...document.querySelectorAll("*")];
  const ids = all.map((one) => one.id).filter(Boolean);
  for (const id of new Set(ids))
    if (ids.filter((other) => other === id).length > 1) faults.push(`id ${id} twice`);
  for (const one of all) {
    for (const name of ["aria-labelledby", "aria-describedby", "for"]) {
      for (const id of one.getAttribute(name)?.split(" ") ?? [])
        if (!document.getElementById(id)) faults.push(`${name} ${id}`);
    }
    if (one.style.length && one.getAttribute("style") && !one.closest("[aria-hidden=true]"))
      faults.push(`style on ${one.tagName}`);
  }
  for (const one of document.querySelectorAll(
    "input, select, textarea, button, a[href], iframe, summary, nav, fieldset, [role=region]",
  )) {
    if (one.matches("iframe") ? !one.title : !nameOf(one))
      faults.push(`no name: ${one.outerHTML.slice(0, 80)}`);
  }
  for (const one of document.querySelectorAll("fieldset"))
    if (!one.querySelector("legend")) faults.push("fieldset without legend");
  for (const one of document.querySelectorAll("table")) {
    if (!one.caption?.textContent) faults.push("table without caption");
    if (one.querySelector("th:not([scope])")) faults.push("th without scope");
  }
  const levels = [...document.querySelectorAll("h1, h2, h3, h4")]
    .filter(visible)
    .map((one) => Number(one.tagName[1]));
  if (levels.filter((level) => level === 1).length !== 1 || levels[0] !== 1) faults.push("not one h1, first");
  levels.forEach((level, i) => {
    if (i && level > levels[i - 1] + 1) faults.push(`h${level} after h${levels[i - 1]}`);
  });
  for (const role of ["main", "body > header", "body > footer"]) {
    if (document.querySelectorAll(role).length !== 1) faults.push(`not one ${role}`);
  }
  if (!document.documentElement.lang || !document.title) faults.push("no language or title");
  if (document.querySelector("[tabindex]:not([tabindex='0'], [tabindex='-1'])"))
    faults.push("tabindex above 0");
  if (document.querySelector("[aria-hidden=true] :is(a, button, input, select, [tabindex])"))
    faults.push("focus inside aria-hidden");
  return faults;
}

/** What the Tab key stops at, in the order of the document; of radios, the one that is checked. */
function focusable() {
  return [
    ...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']"),
  ].filter(
    (one) =>
      (visible(one) || one.type === "file") && !one.disabled && !(one.type === "radio" && !one.checked),
  );
}

function focused() {
  const one = document.activeElement;
  const style = getComputedStyle(one.type === "file" ? one.nextElementSibling : one);
  return {
    index: focusable().indexOf(one),
    tag: one.outerHTML.slice(0, 60),
    outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
  };
}
