// Ranked lists as columns of rows, which the arrow keys walk.

import { el } from "../lib/dom.js";

/** What became of an item since the list before, as a mark with its meaning. */
export function moveMark(move) {
  if (!move || move.kind === "same") return null;
  const [sign, words] = {
    new: ["new", "new in the list"],
    up: [`↑${move.by}`, `up ${move.by}`],
    down: [`↓${move.by}`, `down ${move.by}`],
  }[move.kind];
  return el(
    "span",
    { class: `move move-${move.kind}` },
    el("span", { "aria-hidden": "true" }, sign),
    el("span", { class: "visually-hidden" }, words),
  );
}

/** One row: a button that chooses its item. */
export function row({ item, rank, title, aside, below, chosen }) {
  return el(
    "li",
    {},
    el(
      "button",
      { type: "button", class: "row", tabindex: -1, data: { item }, "aria-pressed": String(chosen) },
      el("span", { class: "row-rank" }, rank),
      el("span", { class: "row-title", title }, title),
      aside,
      below,
    ),
  );
}

/**
 * Make the columns of a frame one thing to walk: up and down within a column, left and right to the same item in the
 * next one that has it. One row of each column can be reached by Tab.
 *
 * @param {HTMLElement} frame holds columns, `.column`, of rows, `.row`.
 * @param {{light: (item: string|null) => void, choose: (item: string) => void, signal: AbortSignal}} options
 *   `light`: the item that is pointed at or focused, null where none is.
 */
export function walkable(frame, { light, choose, signal }) {
  const on = (name, listener) => frame.addEventListener(name, listener, { signal });
  on("pointerover", (event) => light(itemAt(event.target)));
  on("pointerleave", () => light(itemAt(document.activeElement)));
  on("focusin", (event) => {
    const target = event.target.closest(".row");
    if (target) enter(target);
    light(itemAt(event.target));
  });
  on("focusout", (event) => {
    if (!frame.contains(event.relatedTarget)) light(null);
  });
  on("click", (event) => {
    const item = itemAt(event.target);
    if (item !== null) choose(item);
  });
  on("keydown", (event) => {
    const target = event.target.closest(".row");
    const next = target && NEXT[event.key]?.(target, frame);
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
}

/** Each column's row that Tab reaches: that of the item, or the first. */
export function reachable(frame, item) {
  for (const column of frame.querySelectorAll(".column")) {
    const rows = rowsOf(column);
    (rows.find((each) => each.dataset.item === item) ?? rows[0])?.setAttribute("tabindex", "0");
  }
}

const NEXT = {
  ArrowDown: (target) => beside(target, 1),
  ArrowUp: (target) => beside(target, -1),
  ArrowRight: (target, frame) => across(target, frame, 1),
  ArrowLeft: (target, frame) => across(target, frame, -1),
  Home: (target) => rowsOf(columnOf(target))[0],
  End: (target) => rowsOf(columnOf(target)).at(-1),
};

function beside(target, by) {
  const rows = rowsOf(columnOf(target));
  return rows[rows.indexOf(target) + by];
}

function across(target, frame, by) {
  const columns = [...frame.querySelectorAll(".column")];
  const at = columns.indexOf(columnOf(target));
  const further = by > 0 ? columns.slice(at + 1) : columns.slice(0, at).reverse();
  return further
    .map((column) => rowsOf(column).find((each) => each.dataset.item === target.dataset.item))
    .find(Boolean);
}

function enter(target) {
  for (const each of rowsOf(columnOf(target))) each.setAttribute("tabindex", each === target ? "0" : "-1");
}

function itemAt(node) {
  return node?.closest?.(".row")?.dataset.item ?? null;
}

const columnOf = (target) => target.closest(".column");
const rowsOf = (column) => [...column.querySelectorAll(".row")];
