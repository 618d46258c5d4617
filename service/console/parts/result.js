// What is below the controls of a try: nothing yet, an answer, or why there is none.

import { emptyState, errorState, loading, panel } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { counted } from "../lib/format.js";
import { moves } from "../lib/ranking.js";
import { idsOf, VISITOR } from "../lib/trial.js";
import { changeWords } from "../lib/words.js";
import { board } from "./board.js";
import { reasonsList, seenList, stagesList, summaryLine } from "./course.js";
import { whyBody, whyTitle } from "./why.js";

/**
 * @param {object} options
 * @param {object} options.context the page's.
 * @param {HTMLElement} options.outcome what it is shown in.
 * @param {(item: string) => void} options.choose an item is to be explained.
 * @param {(history: string[]) => void} options.compose a user's history is to be changed.
 */
export function resultView({ context, outcome, choose, compose }) {
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
      marks = before === null ? new Map() : moves(idsOf(before), idsOf(tried));
      const item = isKnown(tried, wanted) ? wanted : (idsOf(tried)[0] ?? null);
      replace(summary, summaryLine(tried), reasonsList(tried));
      changed.textContent = before === null ? "" : changeWords(idsOf(before), idsOf(tried));
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

function gist({ answer }) {
  const whom = answer.user_id === VISITOR ? "this history" : `user ${answer.user_id}`;
  return `${counted(answer.items.length, "item")} for ${whom}.`;
}

function isKnown({ answer, lists }, item) {
  return (
    item !== null && [answer.items, ...lists.map(({ items }) => items)].flat().some(({ item_id: id }) => id === item)
  );
}

const historyOf = ({ history }) => [...new Set(history.map(({ item_id: id }) => id))];
