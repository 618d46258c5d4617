// Compare: two ways to rank, for the same user.

import { isAborted } from "../lib/api.js";
import { emptyState, errorState, loading, pageHead, panel } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import {
  isComplete,
  readN,
  readSettings,
  readSubject,
  tryBody,
  writeN,
  writeSettings,
  writeSubject,
} from "../lib/trial.js";
import { contrast, measures } from "../parts/contrast.js";
import { itemsField } from "../parts/items_field.js";
import { settingsForm } from "../parts/settings.js";
import { subjectPicker } from "../parts/subject.js";

export const title = "Compare";
const WAIT_MS = 180;
const SIDES = ["a", "b"];

export async function render(root, context) {
  const [service, bundles] = await Promise.all([
    context.service ?? context.api.get("/admin/service", context.signal),
    loadedBundles(context),
  ]);
  const state = stateOf(context.params, service);
  const titles = new Map();
  const outcome = el("div", { class: "outcome", id: "outcome", "aria-busy": "false" });
  const subject = subjectPicker({
    context,
    subject: state.subject,
    titles,
    change: (next) => change({ subject: next }),
  });
  const forms = Object.fromEntries(
    SIDES.map((side) => [
      side,
      settingsForm({
        service,
        settings: state[side],
        bundles,
        label: `Side ${side.toUpperCase()}`,
        change: (next) => change({ [side]: next }),
      }),
    ]),
  );
  const lists = contrast({ signal: context.signal });
  const figures = el("div", { class: "figures" });
  const body = panel({ title: "Lists", id: "lists" }, figures, lists.element);
  let asking = new AbortController();
  let waiting = 0;

  replace(
    root,
    pageHead(
      title,
      "Two pipelines, settings or bundles for the same user, side by side.",
      swapButton(() => {
        change({ a: state.b, b: state.a });
        for (const side of SIDES) forms[side].show(state[side]);
      }),
    ),
    el(
      "div",
      { class: "controls controls-compare" },
      panel(
        { title: "Who", id: "who" },
        subject.element,
        itemsField(state.n, (n) => change({ n })),
      ),
      SIDES.map((side) =>
        panel({ title: `Side ${side.toUpperCase()}`, id: `side-${side}`, class: `side-${side}` }, forms[side].element),
      ),
    ),
    outcome,
  );

  function change(changed) {
    Object.assign(state, changed);
    context.setParams(paramsOf(state));
    clearTimeout(waiting);
    waiting = setTimeout(run, WAIT_MS);
  }

  async function run() {
    asking.abort();
    asking = new AbortController();
    if (!isComplete(state.subject)) {
      finish(
        emptyState({
          title: "For whom?",
          text: "Pick a user or compose a history, to compare what each side recommends.",
        }),
      );
      return;
    }
    outcome.setAttribute("aria-busy", "true");
    if (!outcome.contains(body)) replace(outcome, loading("Asking both sides…"));
    const signal = AbortSignal.any([asking.signal, context.signal]);
    try {
      const asked = SIDES.map((side) =>
        context.api.post("/admin/try", tryBody(state.subject, state.n, state[side], service), signal),
      );
      show(await Promise.all(asked));
    } catch (error) {
      if (!isAborted(error)) finish(errorState(error, run));
    }
  }

  function show(tried) {
    for (const { item_id: id, title: name } of tried[0].history) titles.set(id, name ?? id);
    subject.show(state.subject);
    const found = measures(...tried);
    replace(figures, found.element);
    finish(body);
    lists.show(...tried);
    context.announce(found.words);
  }

  function finish(content) {
    outcome.setAttribute("aria-busy", "false");
    if (!outcome.contains(content)) replace(outcome, content);
  }

  context.signal.addEventListener("abort", () => clearTimeout(waiting));
  await run();
}

/** Without a word in the address: what is served beside the first other pipeline. */
function stateOf(params, service) {
  const [a, b] = SIDES.map((side) => readSettings(params, `${side}.`));
  const isOpen = !SIDES.some((side) => [...params.keys()].some((name) => name.startsWith(`${side}.`)));
  if (isOpen) b.pipeline = service.pipelines.find(({ name }) => name !== service.default_pipeline)?.name ?? null;
  return { subject: readSubject(params), n: readN(params), a, b };
}

function paramsOf({ subject, n, a, b }) {
  const entries = [...writeSubject(subject), ...writeN(n), ...writeSettings(a, "a."), ...writeSettings(b, "b.")];
  const sides = entries.some(([name]) => /^[ab]\./.test(name)) ? [] : [["a.pipeline", ""]];
  return new URLSearchParams([...entries, ...sides].map(([name, value]) => [name, String(value)]));
}

/** Bundles that can answer here: the one in service first, then those of running experiments. */
async function loadedBundles({ api, signal }) {
  const { in_service: inService, canaries } = await api.get("/admin/bundles", signal);
  const loaded = Object.entries(canaries)
    .filter(([, state]) => state === "loaded")
    .map(([id]) => id);
  return [...new Set([inService, ...loaded])].filter(Boolean);
}

function swapButton(swap) {
  return el("button", { type: "button", id: "swap", on: { click: swap } }, "Swap sides");
}
