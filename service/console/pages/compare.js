// Compare: two ways to rank, for the same user.

import { ApiError } from "../lib/api.js";
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
import { asker } from "../parts/asking.js";
import { contrast, measures } from "../parts/contrast.js";
import { itemsField } from "../parts/items_field.js";
import { loadedBundles } from "../parts/loaded_bundles.js";
import { settingsForm } from "../parts/settings.js";
import { subjectPicker } from "../parts/subject.js";

export const title = "Compare";
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
  const asking = asker({ context, ask, failed: (error, again) => finish(errorState(error, again)) });

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
    asking.soon();
  }

  async function ask(signal) {
    context.setParams(paramsOf(state, service));
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
    show(await Promise.all(SIDES.map((side) => askSide(side, signal))));
  }

  async function askSide(side, signal) {
    try {
      return await context.api.post("/admin/try", tryBody(state.subject, state.n, state[side], service), signal);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const { status, code, message, field, requestId } = error;
      throw new ApiError(status, code, `Side ${side.toUpperCase()}: ${message}`, field, requestId);
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

  context.onService((next) => {
    if (next && next.bundle !== service.bundle) context.again();
  });
  context.setParams(paramsOf(state, service), { replace: true });
  await asking.now();
}

/** Without a word in the address: what is served beside the first other pipeline. */
function stateOf(params, service) {
  const [a, b] = SIDES.map((side) => readSettings(params, `${side}.`));
  const isOpen = !SIDES.some((side) => [...params.keys()].some((name) => name.startsWith(`${side}.`)));
  if (isOpen) b.pipeline = service.pipelines.find(({ name }) => name !== service.default_pipeline)?.name ?? null;
  return { subject: readSubject(params), n: readN(params), a, b };
}

/** Each side names its pipeline: what is served by default may be another one when the address is opened again. */
function paramsOf({ subject, n, ...sides }, service) {
  const named = (side) => ({ ...side, pipeline: side.pipeline ?? service.default_pipeline });
  const settings = SIDES.flatMap((side) => writeSettings(named(sides[side]), `${side}.`));
  const entries = [...writeSubject(subject), ...writeN(n), ...settings];
  return new URLSearchParams(entries.map(([name, value]) => [name, String(value)]));
}

function swapButton(swap) {
  return el("button", { type: "button", id: "swap", on: { click: swap } }, "Swap sides");
}
