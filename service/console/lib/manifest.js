// A bundle's manifest in words. Pure.

import { dateTime, number, percent } from "./format.js";
import { shortMethod } from "./words.js";

const STATISTICS = {
  n_users: ["Users", number],
  n_items: ["Items", number],
  n_interactions: ["Interactions", number],
  density: ["Density", (share) => percent(share, 2)],
  history_length_mean: ["History, mean", number],
  history_length_median: ["History, median", number],
  history_length_max: ["History, longest", number],
  first_timestamp: ["First interaction", instant],
  last_timestamp: ["Last interaction", instant],
  share_without_timestamp: ["Without a time", percent],
  share_with_title: ["Items with a title", percent],
  n_train: ["Training interactions", number],
  n_valid_examples: ["Validation examples", number],
  n_test_examples: ["Test examples", number],
  without_history: ["Users without history", number],
  "filters.below_min_rating": ["Left out, rated too low", number],
  "filters.duplicates": ["Left out, duplicates", number],
  "filters.outside_core": ["Left out, too rare", number],
};

/** Names and values of a bundle's data statistics, in their order; what is not known here has its own name. */
export function statisticsInWords(statistics) {
  return flattened(statistics).map(([path, value]) => {
    const [label, say] = STATISTICS[path] ?? [path.replaceAll("_", " ").replace(".", ": "), plain];
    return [label, value === null ? "–" : say(value)];
  });
}

/** A document as paths and values that are no objects: `{a: {b: 1}}` is `[["a.b", 1]]`. */
export function flattened(document, prefix = "") {
  return Object.entries(document ?? {}).flatMap(([name, value]) => {
    const path = prefix + name;
    const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
    if (isObject) return flattened(value, `${path}.`);
    return [[path, isDeep(value) ? JSON.stringify(value) : value]];
  });
}

/**
 * What a search tried, the best first.
 * @param {unknown} value such as `[{settings: {…}, ndcg: 0.1}, …]`
 * @returns {{rows: object[], total: number, measure: string}|null} null: it is nothing of this kind
 */
export function bestSettings(value, n) {
  const isSearch =
    Array.isArray(value) && value.length > 0 && value.every((each) => typeof each?.settings === "object");
  if (!isSearch) return null;
  const measure = Object.keys(value[0]).find((name) => typeof value[0][name] === "number");
  if (!measure) return null;
  const rows = [...value].sort((one, other) => other[measure] - one[measure]).slice(0, n);
  return { rows, total: value.length, measure };
}

/** Settings of a fusion: "RRF, k 10; with cf ×1". */
export function settingsInWords({ method, k, others = [], ...rest }) {
  if (method === undefined)
    return flattened(rest)
      .map(([path, value]) => `${path} ${value}`)
      .join(", ");
  const damping = k ? `, k ${k}` : "";
  const voters = others.length
    ? `; with ${others.map(([name, weight]) => `${name} ×${number(weight)}`).join(" and ")}`
    : "";
  return `${shortMethod(method)}${damping}${voters}`;
}

function isDeep(value) {
  return Array.isArray(value) && value.some((each) => each !== null && typeof each === "object");
}

function instant(seconds) {
  return dateTime(new Date(seconds * 1000).toISOString());
}

function plain(value) {
  return typeof value === "number" ? number(value, 3) : String(value);
}
