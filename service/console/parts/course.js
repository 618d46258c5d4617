// How an answer came about: stages with their times, reasons, what was left out; and what is known of the user.

import { badge, bar } from "../lib/components.js";
import { el } from "../lib/dom.js";
import { counted, listed, milliseconds } from "../lib/format.js";
import { leftOutWords, reasonWords, stageWords } from "../lib/words.js";

const SHOWN = 12;

/** In a line: who answered, from which bundle, in which time, and whether the answer is the worse for something. */
export function summaryLine({ answer, settings }) {
  const { pipeline, model_version: bundle, degraded, timings_ms: timings } = answer;
  const kind = settings.kind === pipeline ? pipeline : `${pipeline} (${settings.kind})`;
  return el(
    "p",
    { class: "summary-line" },
    badge(degraded ? "degraded" : "complete", degraded ? "warn" : "good"),
    el("span", {}, el("span", { class: "muted" }, "Pipeline "), kind),
    el("span", {}, el("span", { class: "muted" }, "Bundle "), el("span", { class: "mono" }, bundle)),
    el("span", {}, el("span", { class: "muted" }, "Time "), milliseconds(timings.total ?? sum(Object.values(timings)))),
  );
}

/** What the caller should know. */
export function reasonsList({ answer }) {
  if (answer.reasons.length === 0) return null;
  const kind = answer.degraded ? "warn" : "plain";
  return el(
    "div",
    { class: `notice notice-${kind}`, role: "note" },
    answer.degraded && el("p", {}, el("strong", {}, "The list is worse than it could be. ")),
    answer.reasons.map((reason) => el("p", { title: reason }, reasonWords(reason))),
  );
}

/** Each stage: what it did, and its part of the time. */
export function stagesList({ answer }) {
  const { stages, left_out: leftOut } = answer.explanation;
  const longest = Math.max(...stages.map(({ ms }) => ms), 0);
  const out = leftOutWords(leftOut);
  return [
    el(
      "ol",
      { class: "stages" },
      stages.map((stage) => {
        const { title, text } = stageWords(stage);
        return el(
          "li",
          {},
          el("span", { class: "stage-title" }, title),
          el("span", { class: "stage-text" }, text),
          el(
            "span",
            { class: "stage-time" },
            bar(stage.ms, longest),
            el("span", { class: "nowrap" }, milliseconds(stage.ms)),
          ),
        );
      }),
    ),
    out.length > 0 && el("p", { class: "hint" }, `Items left out: ${listed(out)}.`),
  ];
}

/** What was seen, the newest first, with what is not in the history at the end. */
export function seenList({ history, seen }) {
  const read = new Set(history.map(({ item_id: id }) => id));
  const others = seen.filter(({ item_id: id }) => !read.has(id));
  if (history.length + others.length === 0) return el("p", { class: "muted" }, "Nothing is known of this user.");
  return [
    items(history.toReversed(), "History, the newest first"),
    others.length > 0 &&
      el(
        "details",
        {},
        el("summary", {}, `${counted(others.length, "item")} seen, beyond the history`),
        items(others, "Seen, beyond the history"),
      ),
  ];
}

function items(all, label) {
  const row = ({ item_id: id, title }) => el("li", {}, title ?? id);
  const rest = all.slice(SHOWN);
  return [
    el("ol", { class: "seen", "aria-label": label }, all.slice(0, SHOWN).map(row)),
    rest.length > 0 &&
      el(
        "details",
        {},
        el("summary", {}, `${rest.length} more`),
        el("ol", { class: "seen", start: SHOWN + 1, "aria-label": `${label}, continued` }, rest.map(row)),
      ),
  ];
}

function sum(values) {
  return values.reduce((all, value) => all + value, 0);
}
