const DIGITS = 4;
const MINUS = "\u2212";

/**
 * A number in four digits, more only where it is large.
 *
 * @param {number} value
 */
export function short(value) {
  const size = Math.abs(value);
  if (size && (size >= 1e12 || size < 1e-4)) return value.toExponential(DIGITS - 1).replace("-", MINUS);
  const whole = size >= 1 ? Math.floor(Math.log10(size)) + 1 : 1;
  const form = new Intl.NumberFormat("en", { maximumSignificantDigits: Math.max(DIGITS, whole) });
  return form.format(value).replace("-", MINUS);
}

/**
 * A number with as many decimal places as numbers of this span need to be told apart, and with its sign if
 * `signed`.
 *
 * @param {number} value
 * @param {number} span
 * @param {boolean} signed
 */
export function within(value, span, signed = false) {
  const places = Math.min(Math.max(DIGITS - 1 - Math.floor(Math.log10(span || 1)), 0), 12);
  const form = new Intl.NumberFormat("en", {
    minimumFractionDigits: places,
    maximumFractionDigits: places,
    signDisplay: signed ? "exceptZero" : "negative",
  });
  return form.format(value).replace("-", MINUS);
}

/**
 * What stands behind a number: of "100,000 USD", that it is to be multiplied.
 *
 * @param {string} unit
 */
export function times(unit) {
  return /^\d/.test(unit) ? `× ${unit}` : unit;
}

/**
 * A share of one in percent.
 *
 * @param {number} share
 */
export function percent(share) {
  const places = share > 0.001 && share < 0.999 ? 1 : share === 0 || share === 1 ? 0 : 3;
  return `${(100 * share).toFixed(places)}%`;
}
