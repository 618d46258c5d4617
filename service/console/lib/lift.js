// What an experiment's report says, in words and in coordinates. Pure.

import { number, percent } from "./format.js";

const MEANINGS = {
  "click-through": ["Clicks per list", true],
  "click-share": ["Users who clicked", true],
  conversion: ["Users who bought", true],
  revenue: ["Revenue per user", true],
  degraded: ["Degraded lists", false],
  "latency-p50": ["Latency, median", false],
  "latency-p95": ["Latency, 95th percentile", false],
  "latency-p99": ["Latency, 99th percentile", false],
};
const WIDEST = 1; // a lift of 100 %: intervals beyond are cut off, and marked
const NARROWEST = 0.05;
const ROOM = 1.5; // for the wider intervals of any look

/** What a metric measures. */
export function meaning(metric) {
  return MEANINGS[metric]?.[0] ?? metric;
}

/** Whether more of a metric is better. */
export function moreIsBetter(metric) {
  return MEANINGS[metric]?.[1] ?? true;
}

/** A metric's value in its unit. */
export function valueInWords(metric, value) {
  if (value === null) return "–";
  if (metric.startsWith("latency")) return `${number(value, 1)} ms`;
  return metric === "revenue" ? number(value, 3) : percent(value, 2);
}

/** A signed share: +4.2 %. */
export function signed(share) {
  if (share === null || share === undefined || !Number.isFinite(share)) return "–";
  return `${share > 0 ? "+" : share < 0 ? "−" : ""}${number(Math.abs(share) * 100, 1)}\u00a0%`;
}

/**
 * What a row of the report shows, at the level of the report.
 * @returns {{kind: "good"|"bad"|"plain", text: string}} good and bad: a difference, and whether it is the wanted one
 */
export function verdict(row, alpha) {
  const lift = row.comparison?.lift;
  if (!lift) return { kind: "plain", text: "Too little was seen to say anything" };
  const always = isBelow(row.sequential_p_holm, alpha);
  if (!always && !isBelow(row.p_holm, alpha)) {
    return { kind: "plain", text: `No difference shown: from ${signed(lift.low)} to ${signed(lift.high)} is possible` };
  }
  const direction = lift.mean > 0 ? "More" : "Less";
  const better = lift.mean > 0 === moreIsBetter(row.metric);
  const holds = always ? "at any look" : "if this is the one look that was planned";
  return { kind: better ? "good" : "bad", text: `${direction}, ${better ? "better" : "worse"}; holds ${holds}` };
}

/** The lift to which a picture of rows reaches on both sides: beyond the widest interval of one look, within bounds. */
export function reach(rows) {
  const ends = rows.flatMap(({ comparison }) => (comparison?.lift ? [comparison.lift.low, comparison.lift.high] : []));
  const widest = Math.max(NARROWEST, ...ends.filter(Number.isFinite).map((end) => Math.abs(end) * ROOM));
  return Math.min(WIDEST, Math.ceil(widest * 20) / 20);
}

/** An interval on an axis from 0 to 1 whose middle is no lift; `cutLow`, `cutHigh`: it goes on beyond. */
export function onAxis({ low, mean, high }, to) {
  const place = (value) => Math.min(1, Math.max(0, 0.5 + value / (2 * to)));
  return { low: place(low), mean: place(mean), high: place(high), cutLow: low < -to, cutHigh: high > to };
}

/** Rows of a report by metric, in its order. */
export function byMetric(rows) {
  const groups = new Map();
  for (const row of rows) groups.set(row.metric, [...(groups.get(row.metric) ?? []), row]);
  return groups;
}

function isBelow(p, alpha) {
  return p !== null && p < alpha;
}
