// Try: one user, one way to rank, and how the list came about.

import { emptyState, errorState, loading, pageHead, panel } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { counted } from "../lib/format.js";
import { gone, moves } from "../lib/ranking.js";
import {
  isComplete,
  readN,
  readSettings,
  readSubject,
  tryBody,
  VISITOR,
  writeN,
  writeSettings,
  writeSubject,
} from "../lib/trial.js";
import { asker } from "../parts/asking.js";
import { board } from "../parts/board.js";
import { reasonsList, seenList, stagesList, summaryLine } from "../parts/course.js";
import { itemsField } from "../parts/items_field.js";
import { loadedBundles } from "../parts/loaded_bundles.js";
import { settingsForm } from "../parts/settings.js";
import { subjectPicker } from "../parts/subject.js";
import { whyBody, whyTitle } from "../parts/why.js";

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
  const view = resultView(context, outcome, { choose, compose });
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

/** What is below the controls: nothing yet, an answer, or why there is none. */
function resultView(context, outcome, { choose, compose }) {
  const summary = el("div", { class: "summary" });
  const why = el("div", { class: "why-body" });
  const whyHeading = el("h2", { id: "why-title" }, "Why");
  const back = el(
    "button",
    { type: "button", class: "quiet small narrow-only", on: { click: () => lists.focus() } },
    "Back to the list",
  );
  const seen = el("div", {});
  const stages = el("div", {});
  const changed = el("p", { class: "hint", id: "changed" });
  const copy = el(
    "button",
    { type: "button", class: "quiet small", on: { click: () => compose(historyOf(current)) } },
    "Change this history",
  );
  const lists = board({ signal: context.signal, choose: (item) => chosen(item) });
  const body = [
    panel({ title: "Lists", id: "lists" }, summary, changed, lists.element),
    el(
      "section",
      { class: "panel", id: "why", "aria-labelledby": "why-title" },
      el("div", { class: "panel-head" }, whyHeading, back),
      why,
    ),
    el(
      "div",
      { class: "pair" },
      panel({ title: "How it came about", id: "course" }, stages),
      panel({ title: "What was seen", id: "seen", actions: [copy] }, seen),
    ),
  ];
  let current = null;
  let marks = new Map();

  function chosen(item) {
    choose(item);
    lists.show(current, marks, item);
    explain(item);
    if (back.checkVisibility()) whyHeading.scrollIntoView({ block: "center" });
    context.announce(whyTitle(current, item));
  }

  function explain(item) {
    whyHeading.textContent = item === null ? "Why" : whyTitle(current, item);
    replace(why, item === null ? el("p", { class: "muted" }, "There is no item to explain.") : whyBody(current, item));
  }

  return {
    busy() {
      outcome.setAttribute("aria-busy", "true");
      if (current === null) replace(outcome, loading("Asking the models…"));
    },
    empty(kind) {
      current = null;
      outcome.setAttribute("aria-busy", "false");
      replace(
        outcome,
        emptyState(
          kind === "user"
            ? { title: "Whose list?", text: "Pick a user, or type the id of one, to see what is recommended and why." }
            : {
                title: "What did they like?",
                text: "Add titles to a history, and see what is recommended to somebody with it.",
              },
        ),
      );
    },
    failed(error, retry) {
      current = null;
      outcome.setAttribute("aria-busy", "false");
      replace(outcome, errorState(error, retry));
    },
    show(tried, before, wanted) {
      const isFirst = current === null;
      current = tried;
      marks = before === null ? new Map() : moves(ids(before), ids(tried));
      const item = isKnown(tried, wanted) ? wanted : (ids(tried)[0] ?? null);
      replace(summary, summaryLine(tried), reasonsList(tried));
      changed.textContent = before === null ? "" : changeWords(before, tried, marks);
      changed.hidden = changed.textContent === "";
      replace(stages, stagesList(tried));
      replace(seen, seenList(tried));
      copy.hidden = tried.history.length === 0 || tried.answer.user_id === VISITOR;
      if (isFirst) replace(outcome, body);
      outcome.setAttribute("aria-busy", "false");
      lists.show(tried, marks, item);
      explain(item);
      context.announce(`${gist(tried)} ${changed.textContent}`);
    },
  };
}

function changeWords(before, tried, marks) {
  const kinds = [...marks.values()].map(({ kind }) => kind);
  const count = (kind) => kinds.filter((each) => each === kind).length;
  const left = gone(ids(before), ids(tried)).length;
  const parts = [
    count("up") && `${count("up")} up`,
    count("down") && `${count("down")} down`,
    count("new") && `${count("new")} new`,
    left && `${left} gone`,
  ].filter(Boolean);
  return parts.length ? `Since the list before: ${parts.join(", ")}.` : "The list is the same as before.";
}

function gist({ answer }) {
  const whom = answer.user_id === VISITOR ? "this history" : `user ${answer.user_id}`;
  return `${counted(answer.items.length, "item")} for ${whom}.`;
}

/** How many communities the user belongs to; null where the pipeline asks none. */
function membersOf({ answer }) {
  const planned = answer.explanation.stages.find(({ name }) => name === "plan");
  const asked = planned?.asked.filter(({ community }) => community !== null) ?? [];
  const all = asked.length + (planned?.not_asked.length ?? 0);
  return all > 0 ? all : null;
}

function isKnown({ answer, lists }, item) {
  return (
    item !== null && [answer.items, ...lists.map(({ items }) => items)].flat().some(({ item_id: id }) => id === item)
  );
}

const ids = ({ answer }) => answer.items.map(({ item_id: id }) => id);
const historyOf = ({ history }) => [...new Set(history.map(({ item_id: id }) => id))];
