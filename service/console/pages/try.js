// Try: one user, one way to rank, and how the list came about.

import { pageHead, panel } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import {
  isComplete,
  membersOf,
  readN,
  readSettings,
  readSubject,
  tryBody,
  writeN,
  writeSettings,
  writeSubject,
} from "../lib/trial.js";
import { asker } from "../parts/asking.js";
import { itemsField } from "../parts/items_field.js";
import { loadedBundles } from "../parts/loaded_bundles.js";
import { resultView } from "../parts/result.js";
import { settingsForm } from "../parts/settings.js";
import { subjectPicker } from "../parts/subject.js";

export const title = "Try";

export async function render(root, context) {
  const [service, bundles] = await Promise.all([
    context.service ?? context.api.get("/admin/service", context.signal),
    loadedBundles(context),
  ]);
  const { params } = context;
  const state = {
    subject: readSubject(params),
    settings: readSettings(params),
    n: readN(params),
    item: params.get("item"),
  };
  const titles = new Map();
  const outcome = el("div", { class: "outcome", id: "outcome", "aria-busy": "false" });
  const subject = subjectPicker({
    context,
    subject: state.subject,
    titles,
    change: (next) => change({ subject: next, item: null }),
  });
  const settings = settingsForm({
    service,
    settings: state.settings,
    bundles,
    label: "Ranking",
    beside: itemsField(state.n, (n) => change({ n })),
    change: (next) => change({ settings: next }),
  });
  const view = resultView({ context, outcome, choose, compose });
  let before = null; // what was shown last for this user, or for the history before it was changed
  const asking = asker({ context, ask, failed: view.failed });

  replace(
    root,
    pageHead(
      title,
      "What is recommended to whom, and why. Nothing here is logged as shown, and no experiment counts it.",
    ),
    el(
      "div",
      { class: "controls" },
      panel({ title: "Who", id: "who" }, subject.element),
      panel({ title: "How", id: "how" }, settings.element),
    ),
    outcome,
  );

  function change(changed) {
    if (changed.subject && !(changed.subject.kind === "history" && state.subject.kind === "history")) before = null;
    Object.assign(state, changed);
    asking.soon();
  }

  function write(options) {
    const { subject: whom, settings: how, n, item } = state;
    const entries = [
      ...writeSubject(whom),
      ...writeSettings(how),
      ...writeN(n),
      ...(item === null ? [] : [["item", item]]),
    ];
    context.setParams(new URLSearchParams(entries.map(([name, value]) => [name, String(value)])), options);
  }

  async function ask(signal) {
    write();
    if (!isComplete(state.subject)) {
      view.empty(state.subject.kind);
      return;
    }
    view.busy();
    show(await context.api.post("/admin/try", tryBody(state.subject, state.n, state.settings, service), signal));
  }

  function show(tried) {
    for (const { item_id: id, title: name } of tried.history) titles.set(id, name ?? id);
    subject.show(state.subject);
    settings.belongs(membersOf(tried));
    view.show(tried, before, state.item);
    before = tried;
  }

  function choose(item) {
    state.item = item;
    write({ replace: true });
  }

  function compose(history) {
    subject.show({ ...state.subject, kind: "history", history });
    change({ subject: { ...state.subject, kind: "history", history }, item: null });
    document.getElementById("item-search").focus();
  }

  context.onService((next) => {
    if (next && next.bundle !== service.bundle) context.again();
  });
  write({ replace: true });
  await asking.now();
}
