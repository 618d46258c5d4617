// What pages are made of.

import { el, replace } from "./dom.js";

const HUES = 8;

/** The class of a community's colour; others (`cf`, `global`) have one of their own. */
export function hue(community) {
  return community === null || community === undefined || community < 0 ? "hue-none" : `hue-${community % HUES}`;
}

/** Page heading with a sentence on what the page is for. */
export function pageHead(title, text, ...actions) {
  return el(
    "div",
    { class: "page-head" },
    el("div", {}, el("h1", { tabindex: -1 }, title), text && el("p", { class: "lead" }, text)),
    actions.length > 0 && el("div", { class: "actions" }, actions),
  );
}

/** A panel with a heading. */
export function panel({ title, level = 2, class: more = "", actions = [], id }, ...children) {
  const heading = title && el(`h${level}`, { id: id && `${id}-title` }, title);
  const head = heading && el("div", { class: "panel-head" }, heading, actions);
  return el("section", { class: `panel ${more}`.trim(), id, "aria-labelledby": id && `${id}-title` }, head, children);
}

/** While something is on its way. */
export function loading(text = "Loading…") {
  return el("p", { class: "loading" }, text);
}

/** Where there is nothing, and what one can do about it. */
export function emptyState({ title, text, action }) {
  return el("div", { class: "empty" }, el("p", { class: "empty-title" }, title), text && el("p", {}, text), action);
}

/** A failure in words, with a way to try again. */
export function errorState(error, retry) {
  const { title, text } = explained(error);
  const again = retry && el("button", { type: "button", on: { click: retry } }, "Try again");
  const id = error.requestId && el("p", { class: "muted small" }, `Request ${error.requestId}`);
  return el(
    "div",
    { class: "failure", role: "alert" },
    el("p", { class: "empty-title" }, title),
    el("p", {}, text),
    id,
    again,
  );
}

/** What a failure means for the reader. */
export function explained(error) {
  const field = error.field ? ` (${error.field})` : "";
  switch (error.code) {
    case "unreachable":
      return { title: "Gateway unreachable", text: "The gateway did not answer. It may be restarting, or stopped." };
    case "store_unavailable":
    case "state_unavailable":
      return { title: "Redis is down", text: "The gateway cannot read users' state. It recovers by itself." };
    case "no_bundle":
      return { title: "No bundle in service", text: "Publish and activate one: localrec publish RUN --activate." };
    case "forbidden":
      return { title: "Not allowed", text: error.message };
    default:
      return { title: "That did not work", text: `${error.message}${field}` };
  }
}

/**
 * A table that scrolls by itself where it is too wide.
 *
 * @param {{caption: string, showCaption?: boolean, columns: {label: string, numeric?: boolean, head?: boolean,
 *   cell: (row: any, index: number) => any}[], rows: any[], empty?: string}} options `head`: the column names its row.
 */
export function dataTable({ caption, showCaption = false, columns, rows, empty = "Nothing here yet" }) {
  const head = columns.map(({ label, numeric }) => el("th", { scope: "col", class: numeric && "numeric" }, label));
  const body = rows.map((row, index) =>
    el(
      "tr",
      {},
      columns.map((column) => cell(column, row, index)),
    ),
  );
  const nothing = el("tr", {}, el("td", { colspan: columns.length, class: "muted" }, empty));
  return el(
    "div",
    { class: "table-frame", role: "region", "aria-label": caption, tabindex: 0 },
    el(
      "table",
      {},
      el("caption", { class: showCaption ? null : "visually-hidden" }, caption),
      el("thead", {}, el("tr", {}, head)),
      el("tbody", {}, body.length ? body : nothing),
    ),
  );
}

function cell({ numeric, head, cell: content }, row, index) {
  const properties = { class: numeric ? "numeric" : null, scope: head ? "row" : null };
  return el(head ? "th" : "td", properties, content(row, index));
}

/** A share of `max` as a bar; the number beside it is the reader's. */
export function bar(value, max, more = "") {
  const share = max > 0 ? Math.min(1, Math.max(0, value / max)) : 0;
  return el("span", { class: `bar ${more}`.trim(), "aria-hidden": "true", vars: { "--share": share.toFixed(4) } });
}

/** A word with a meaning: `good`, `warn`, `bad`, `info` or `plain`. */
export function badge(text, kind = "plain") {
  return el("span", { class: `badge badge-${kind}` }, text);
}

/** Terms and their values. */
export function definitions(pairs) {
  return el(
    "dl",
    { class: "definitions" },
    pairs.map(([term, value]) => [el("dt", {}, term), el("dd", {}, value)]),
  );
}

let nextId = 0;

/** An id for what a label or a description points to. */
export function uniqueId(prefix) {
  nextId += 1;
  return `${prefix}-${nextId}`;
}

/** A labelled control; `holder` is what the control sits in, where it is not alone. */
export function field({ label, hint, class: more = "", holder = null }, control) {
  control.id ||= uniqueId("field");
  const hintId = hint && `${control.id}-hint`;
  if (hintId) control.setAttribute("aria-describedby", hintId);
  return el(
    "div",
    { class: `field ${more}`.trim() },
    el("label", { for: control.id }, label),
    holder ?? control,
    hint && el("p", { class: "hint", id: hintId }, hint),
  );
}

/** A select of `[value, label]` pairs. */
export function select(options, value, properties = {}) {
  const chosen = String(value ?? "");
  return el(
    "select",
    properties,
    options.map(([each, label]) => el("option", { value: each, selected: String(each) === chosen }, label)),
  );
}

/** Ask before something happens. Resolves to whether it was confirmed; Escape and Cancel say no. */
export function confirmDialog({ title, body = [], confirm, cancel = "Cancel", danger = false }) {
  return new Promise((resolve) => {
    const id = uniqueId("dialog");
    const dialog = el(
      "dialog",
      {
        "aria-labelledby": id,
        on: {
          close: () => {
            dialog.remove();
            resolve(dialog.returnValue === "confirm");
          },
        },
      },
      el(
        "form",
        { method: "dialog" },
        el("h2", { id }, title),
        el("div", { class: "dialog-body" }, body),
        el(
          "div",
          { class: "actions" },
          el("button", { value: "cancel", autofocus: true }, cancel),
          el("button", { value: "confirm", class: danger ? "danger" : "primary" }, confirm),
        ),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}

let announcing = 0;

/** Say something to those who listen instead of looking. */
export function announce(text) {
  const live = document.getElementById("live");
  replace(live);
  clearTimeout(announcing);
  announcing = setTimeout(() => replace(live, text), 60);
}
