// What an experiment's variants serve, from the service's metrics.

import { quantile, select, total } from "./prometheus.js";

const REQUESTS = "localrec_request_seconds";
const ASSIGNMENTS = "localrec_assignments_total";
const ANSWERED = new Set(["ok", "degraded"]);

/**
 * One variant's traffic. Requests have the label of the variant that decided their pipeline, else of the first that
 * changes anything: of one that changes nothing, only assignments are known.
 * @param {Map} samples of a scrape, or their growth
 * @returns {{assignments: number, answers: number, degradedShare: number|null, p50: Object|null, p95: Object|null}}
 */
export function variantTraffic(samples, experiment, variant) {
  const of = { variant: `${experiment}:${variant}` };
  const answered = ({ labels }) => ANSWERED.has(labels.outcome);
  const answers = total(select(samples, `${REQUESTS}_count`, of).filter(answered));
  const degraded = total(select(samples, `${REQUESTS}_count`, { ...of, outcome: "degraded" }));
  const buckets = select(samples, `${REQUESTS}_bucket`, of).filter(answered);
  return {
    assignments: total(select(samples, ASSIGNMENTS, { experiment, variant })),
    answers,
    degradedShare: answers ? degraded / answers : null,
    p50: quantile(buckets, 0.5),
    p95: quantile(buckets, 0.95),
  };
}

/** Whether a variant changes anything, so that requests can bear its label. */
export function changesAnything({ pipeline, bundle, parameters }) {
  return Boolean(pipeline || bundle || Object.values(parameters ?? {}).some((value) => value !== null));
}

/**
 * Where an experiment stands.
 * @returns {"stopped"|"off"|"planned"|"ended"|"running"}
 */
export function stateOf({ enabled, starts, ends }, killSwitch, now) {
  if (killSwitch) return "stopped";
  if (!enabled) return "off";
  if (starts && now < new Date(starts)) return "planned";
  return ends && now >= new Date(ends) ? "ended" : "running";
}
