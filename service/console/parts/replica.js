// One replica of a pool as a card that is kept up to date.

import { badge, definitions } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { counted, listed, milliseconds, number } from "../lib/format.js";

const BREAKERS = {
  closed: ["closed", "good", "takes calls"],
  half_open: ["half open", "warn", "one call tries whether it works again"],
  open: ["open", "bad", "left alone for a while after failures in a row"],
};

const PARTS = ["state", "why", "bundles", "adapters", "load", "latency", "breaker", "refused"];

/**
 * A card, empty until its first update.
 * @returns {{element: Node, update: (worker: object) => string}} `update` returns what one should hear of, or ""
 */
export function replicaCard() {
  const parts = Object.fromEntries(PARTS.map((name) => [name, el("div")]));
  const heading = el("h3", { class: "mono" });
  const terms = [
    ["Serves", parts.bundles],
    ["Adapters", parts.adapters],
    ["In flight", parts.load],
    ["Latency", parts.latency],
    ["Breaker", parts.breaker],
  ];
  const element = el(
    "article",
    { class: "replica" },
    el("div", { class: "panel-head" }, heading, parts.state),
    parts.why,
    definitions(terms),
    parts.refused,
  );
  const shown = {};
  let wasReady = null;

  /** Touch a part only where it changed: what somebody reads or has opened stays. */
  function put(name, value, draw) {
    const key = JSON.stringify(value ?? null);
    if (shown[name] === key) return;
    shown[name] = key;
    replace(parts[name], draw(value));
  }

  function update(worker) {
    const ready = worker.bundles.length > 0;
    replace(heading, worker.url);
    element.dataset.ready = String(ready);
    put("state", ready, (is) => badge(is ? "ready" : "down", is ? "good" : "bad"));
    put("why", worker.reason, (why) => why && el("p", { class: "notice notice-bad" }, why));
    put("bundles", worker.bundles, (ids) =>
      ids.length ? el("span", { class: "mono" }, listed(ids)) : "no bundle that is wanted",
    );
    put("adapters", worker.adapters, adapterList);
    put("load", worker.in_flight, (calls) => counted(calls ?? 0, "call"));
    put("latency", worker.latency_ms, latencyText);
    put("breaker", worker.breaker, breakerText);
    put("refused", worker.refused, refusedList);
    const changed = wasReady !== null && wasReady !== ready;
    wasReady = ready;
    return changed ? `${worker.url} is ${ready ? "ready" : `down: ${worker.reason}`}` : "";
  }

  return { element, update };
}

function adapterList(names) {
  if (!names?.length) return "none resident";
  return el(
    "details",
    {},
    el("summary", {}, `${number(names.length)} resident`),
    el(
      "ul",
      { class: "names mono" },
      names.map((name) => el("li", {}, name)),
    ),
  );
}

function latencyText(latency) {
  if (!latency?.n) return "no calls yet";
  const last = counted(latency.n, "call");
  return `${milliseconds(latency.p50)} median, ${milliseconds(latency.p95)} 95th percentile (last ${last})`;
}

function breakerText(state) {
  const [word, kind, meaning] = BREAKERS[state] ?? [state, "plain", ""];
  return [badge(word, kind), " ", el("span", { class: "muted" }, meaning)];
}

function refusedList(refused) {
  if (!refused?.length) return null;
  return el(
    "div",
    { class: "notice notice-warn" },
    el("p", {}, `${counted(refused.length, "adapter")} not used:`),
    el(
      "ul",
      {},
      refused.map((line) => el("li", {}, line)),
    ),
  );
}
