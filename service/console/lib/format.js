// Numbers and times for people. Pure.

const LOCALE = "en-GB";

/** 1,234.5; at most `digits` decimals. What is no number is a dash. */
export function number(value, digits = 2) {
  return isNumber(value) ? new Intl.NumberFormat(LOCALE, { maximumFractionDigits: digits }).format(value) : "–";
}

/** Four significant digits, for scores of any size. */
export function significant(value, digits = 3) {
  return isNumber(value) ? new Intl.NumberFormat(LOCALE, { maximumSignificantDigits: digits }).format(value) : "–";
}

/** A share of one: 12.3 %. */
export function percent(share, digits = 1) {
  return isNumber(share) ? `${number(share * 100, digits)} %` : "–";
}

/** Milliseconds: 0.43 ms, 12 ms, 1.2 s. */
export function milliseconds(value) {
  if (!isNumber(value)) return "–";
  if (value >= 1000) return `${number(value / 1000, 1)} s`;
  return `${number(value, value < 10 ? 2 : 0)} ms`;
}

/** 512 B, 1.5 MB (powers of 1000). */
export function bytes(value) {
  if (!isNumber(value)) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let size = value;
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${number(size, unit ? 1 : 0)} ${units[unit]}`;
}

/** An ISO time as date and time here, to the minute. What is no time stays as it is. */
export function dateTime(iso) {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return String(iso ?? "–");
  return new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium", timeStyle: "short" }).format(at);
}

/** "1 item", "2 items". */
export function counted(count, one, many = `${one}s`) {
  return `${number(count, 0)} ${count === 1 ? one : many}`;
}

/** "a, b and c". */
export function listed(words) {
  if (words.length < 2) return words.join("");
  return `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}
