// The experiments file in words. Pure.

import { dateTime, listed, number, percent } from "./format.js";
import { shortMethod } from "./words.js";

const STATES = {
  running: ["running", "good"],
  planned: ["planned", "info"],
  ended: ["ended", "plain"],
  off: ["switched off", "plain"],
  stopped: ["stopped by the kill switch", "bad"],
};

/** A state's word and kind. */
export function stateInWords(state) {
  return STATES[state];
}

/** From when to when an experiment runs. */
export function windowInWords({ starts, ends }) {
  if (starts && ends) return `${dateTime(starts)} to ${dateTime(ends)}`;
  if (starts) return `from ${dateTime(starts)} on`;
  return ends ? `until ${dateTime(ends)}` : "without a limit in time";
}

/** Which users of its layer take part. */
export function coverageInWords({ coverage, offset }) {
  if (coverage >= 1) return "all users of the layer";
  return `${percent(coverage, 2)} of the layer's users, from ${percent(offset, 2)} to ${percent(offset + coverage, 2)}`;
}

/** Shares of an experiment's users by variant, in the order of the file. */
export function shares(variants) {
  const sum = variants.reduce((total, { weight }) => total + weight, 0);
  return variants.map(({ weight }) => weight / sum);
}

/** What a variant does otherwise than the service does without it. */
export function changesInWords({ pipeline, bundle, parameters }) {
  const said = [
    pipeline && `pipeline ${pipeline}`,
    bundle && `bundle ${bundle}`,
    ...parametersInWords(parameters ?? {}),
  ];
  return said.filter(Boolean).join("; ") || "nothing: as the service is without it";
}

/** Parameters of a variant or a shadow, one phrase each. */
export function parametersInWords(parameters) {
  const {
    deadline_ms: deadline,
    max_communities: communities,
    fusion,
    candidates,
    diversity,
    max_per: caps,
  } = parameters;
  return [
    isSet(deadline) && `deadline ${deadline} ms`,
    isSet(communities) && `at most ${communities} communities`,
    isSet(fusion) && `fusion: ${fusionInWords(fusion)}`,
    isSet(candidates) && `${candidates} candidates`,
    isSet(diversity) && `diversity ${number(diversity)}`,
    isSet(caps) && `at most ${listed(pairs(caps, (attribute, most) => `${most} of one ${attribute}`))}`,
  ].filter(Boolean);
}

/** A histogram's quantile in milliseconds; `above`: beyond its last bucket. */
export function quantileInWords(quantile, say) {
  if (quantile === null) return "–";
  const value = say(quantile.seconds * 1000);
  return quantile.above ? `over ${value}` : value;
}

function fusionInWords({ method, k, candidates, voters }) {
  const said = [
    isSet(method) && shortMethod(method),
    isSet(k) && `k ${number(k)}`,
    isSet(candidates) && `${candidates} candidates`,
    isSet(voters) && `voters ${listed(pairs(voters, (name, weight) => `${name} ×${number(weight)}`)) || "none"}`,
  ].filter(Boolean);
  return said.join(", ") || "as it is";
}

function pairs(mapping, say) {
  return Object.entries(mapping).map(([key, value]) => say(key, value));
}

function isSet(value) {
  return value !== null && value !== undefined;
}
