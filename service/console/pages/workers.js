// The replicas of every pool as this gateway sees them, looked at again and again.

import { isAborted } from "../lib/api.js";
import { announce, emptyState, errorState, loading, pageHead, panel } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { counted, dateTime } from "../lib/format.js";
import { every } from "../lib/poll.js";
import { replicaCard } from "../parts/replica.js";

export const title = "Workers";

const EVERY_MS = 2_000;
const LEAD = "The servers that run the language models, as this gateway sees them.";

export function render(root, context) {
  const pools = el("div", { class: "page" }, loading());
  const age = el("p", { class: "muted small", id: "age" });
  const failure = el("div");
  const pause = el("button", { type: "button", id: "pause", "aria-pressed": "false", on: { click: toggle } }, "Pause");
  const cards = new Map();
  let paused = false;
  replace(root, pageHead(title, LEAD, pause), age, failure, pools);

  function toggle() {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    announce(paused ? "Paused" : "Refreshing every 2 seconds");
    showAge(age, paused);
    if (!paused) look();
  }

  async function look() {
    try {
      const { workers } = await context.api.get("/admin/workers", context.signal);
      replace(failure);
      pools.classList.remove("stale");
      if (!paused || !cards.size) show(pools, cards, workers);
      age.dataset.at = new Date().toISOString();
      showAge(age, paused);
    } catch (error) {
      if (isAborted(error)) return;
      pools.classList.add("stale");
      replace(failure, errorState(error));
      if (!cards.size) replace(pools);
    }
  }

  return every(
    EVERY_MS,
    async () => {
      if (!paused) await look();
    },
    context.signal,
  );
}

function showAge(node, paused) {
  const at = node.dataset.at;
  const seconds = String(new Date(at).getSeconds()).padStart(2, "0");
  replace(node, at && `${paused ? "Paused; seen" : "Seen"} ${dateTime(at)}:${seconds}`);
}

/** Cards stay where they are, so that neither focus nor what was opened is lost. */
function show(node, cards, workers) {
  const names = [...cards.keys()].join(" ");
  for (const worker of workers) {
    const key = keyOf(worker);
    if (!cards.has(key)) cards.set(key, replicaCard());
    const change = cards.get(key).update(worker);
    if (change) announce(change);
  }
  const current = new Set(workers.map(keyOf));
  for (const key of [...cards.keys()].filter((each) => !current.has(each))) cards.delete(key);
  if (!workers.length) {
    const text = "Lists come from the global model and the most popular items. Pools are in gateway.toml: [[pools]].";
    replace(node, emptyState({ title: "No pools are configured", text }));
  } else if (names !== [...cards.keys()].join(" ")) {
    replace(node, poolPanels(cards, workers));
  }
}

function poolPanels(cards, workers) {
  const pools = [...new Set(workers.map(({ pool }) => pool))];
  return pools.map((pool) => {
    const own = workers.filter((worker) => worker.pool === pool);
    const replicas = own.map((worker) => el("li", {}, cards.get(keyOf(worker)).element));
    const count = el("span", { class: "muted small" }, counted(own.length, "replica"));
    return panel(
      { title: `Pool ${pool}`, id: `pool-${pool}`, actions: [count] },
      el("ul", { class: "replicas" }, replicas),
    );
  });
}

function keyOf({ pool, url }) {
  return `${pool}@${url}`;
}
