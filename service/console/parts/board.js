// The served list beside each voter's, the same items connected.

import { badge, hue, uniqueId } from "../lib/components.js";
import { el, replace, svg } from "../lib/dom.js";
import { number, significant } from "../lib/format.js";
import { voterName } from "../lib/words.js";
import { drawLines } from "./lines.js";
import { moveMark, reachable, row, walkable } from "./rows.js";

const FEWEST_ROWS = 10;
const WIDE = matchMedia("(min-width: 761px)");

/**
 * @param {{signal: AbortSignal, choose: (item: string) => void}} options `choose`: an item was chosen.
 * @returns {{element: HTMLElement, show: (tried: object, moves: Map, chosen: string|null) => void, focus: () => void}}
 *   `focus`: to the chosen item.
 */
export function board({ signal, choose }) {
  const helpId = uniqueId("help");
  const drawing = svg("svg", { class: "lines", "aria-hidden": "true", focusable: "false" });
  const columns = el("div", { class: "columns" });
  const frame = el("div", { class: "board-frame" }, columns, drawing);
  const longer = el("button", { type: "button", class: "quiet small", on: { click: toggleLength } });
  const help = el(
    "p",
    { class: "hint wide-only", id: helpId },
    "Point at an item, or walk with the arrow keys, to see its rank in every list; choose it to see why it is there.",
  );
  const element = el(
    "div",
    { class: "board", role: "group", "aria-label": "Lists", "aria-describedby": helpId },
    help,
    frame,
    longer,
  );
  let shown = null;
  let isLong = false;
  let lit = null;

  function show(tried, moves, chosen) {
    shown = { tried, moves, chosen };
    const hadFocus = frame.contains(document.activeElement) ? placeOf(document.activeElement) : null;
    const depth = isLong ? Infinity : Math.max(FEWEST_ROWS, tried.answer.items.length);
    longer.hidden = tried.lists.every(({ items }) => items.length <= Math.max(FEWEST_ROWS, tried.answer.items.length));
    longer.textContent = isLong ? "Show the beginning of each list" : "Show more of each list";
    columns.classList.toggle(
      "columns-named",
      tried.lists.some((list) => voterName(list).long !== ""),
    );
    replace(
      columns,
      servedColumn(tried, moves, chosen),
      tried.lists.map((list) => voterColumn(list, depth, tried, chosen)),
    );
    reachable(frame, chosen);
    if (hadFocus) rowAt(hadFocus)?.focus();
    light(hadFocus?.item ?? null);
  }

  function toggleLength() {
    isLong = !isLong;
    show(shown.tried, shown.moves, shown.chosen);
  }

  function light(item) {
    lit = item;
    for (const each of frame.querySelectorAll(".row")) each.classList.toggle("lit", each.dataset.item === item);
    for (const [at, list] of (shown?.tried.lists ?? []).entries()) {
      const rank = list.items.find(({ item_id: id }) => id === item)?.rank;
      columns.children[at + 1].querySelector(".column-rank").textContent =
        item === null ? "" : rank ? `#${rank}` : `below ${list.items.length}`;
    }
    draw();
  }

  function draw() {
    if (!WIDE.matches || !shown) {
      replace(drawing);
      return;
    }
    const served = new Set(shown.tried.answer.items.map(({ item_id: id }) => id));
    drawLines(frame, drawing, [...columns.children], served, lit ?? shown.chosen);
  }

  const placeOf = (target) => ({
    column: [...columns.children].indexOf(target.closest(".column")),
    item: target.dataset.item,
  });
  const rowAt = ({ column, item }) =>
    [...(columns.children[column]?.querySelectorAll(".row") ?? [])].find((each) => each.dataset.item === item);

  walkable(frame, { light, choose, signal });
  const resized = new ResizeObserver(draw);
  resized.observe(columns);
  signal.addEventListener("abort", () => resized.disconnect());
  return { element, show, focus: () => frame.querySelector('.row[aria-pressed="true"]')?.focus() };
}

function servedColumn({ answer, lists, settings }, moves, chosen) {
  const best = Math.max(...answer.items.map(({ explanation }) => total(explanation)), 0);
  const rows = answer.items.map((item) =>
    row({
      item: item.item_id,
      rank: item.rank,
      title: item.title ?? item.item_id,
      chosen: item.item_id === chosen,
      aside: [moveMark(moves.get(item.item_id)), item.source !== settings.kind && badge(item.source)],
      below: [contributions(item.explanation ?? [], best), votes(item.explanation ?? [], lists)],
    }),
  );
  return el(
    "section",
    { class: "column column-served", "aria-label": "Served list" },
    el("header", {}, el("h3", {}, "Served"), el("p", { class: "column-facts" }, `${answer.items.length} items`)),
    el("ol", {}, rows),
  );
}

function voterColumn(list, depth, { answer }, chosen) {
  const { short, long } = voterName(list);
  const served = new Set(answer.items.map(({ item_id: id }) => id));
  const rows = list.items.slice(0, depth).map(({ item_id: id, title, rank }) => {
    const line = row({ item: id, rank, title: title ?? id, chosen: id === chosen });
    line.firstChild.classList.toggle("unserved", !served.has(id));
    return line;
  });
  const facts = [
    list.community !== null && list.voter,
    list.affinity !== null && `affinity ${number(list.affinity, 3)}`,
    `weight ${significant(list.weight)}`,
  ];
  return el(
    "section",
    { class: `column ${hue(list.community)}`, "aria-label": `${short}${long ? `, ${long}` : ""}` },
    el(
      "header",
      {},
      el("h3", {}, el("span", { class: "swatch", "aria-hidden": "true" }), short, el("span", { class: "column-rank" })),
      long && el("p", { class: "column-name", title: long }, long),
      el("p", { class: "column-facts" }, facts.filter(Boolean).join(" · ")),
    ),
    rows.length ? el("ol", {}, rows) : el("p", { class: "muted small" }, "No item of this list may be shown."),
  );
}

/** Who put the item there, by their parts, on the scale of the best item. */
function contributions(given, best) {
  if (best <= 0 || given.length === 0) return null;
  return el(
    "span",
    { class: "parts", "aria-hidden": "true" },
    given
      .filter(({ contribution }) => contribution > 0)
      .map((vote) =>
        el("span", {
          class: `part ${hue(vote.community)}`,
          vars: { "--share": (vote.contribution / best).toFixed(4) },
        }),
      ),
  );
}

/** The same in words, where there is no room for the lists beside. */
function votes(given, lists) {
  const voter = (community) => lists.find((list) => list.community === community)?.voter ?? `c${community}`;
  return el(
    "span",
    { class: "votes narrow-only", "aria-hidden": "true" },
    given.map((vote) => {
      const name = vote.community === null ? vote.name : voter(vote.community);
      return el("span", { class: `vote ${hue(vote.community)}` }, `${name} #${vote.rank}`);
    }),
  );
}

function total(given) {
  return (given ?? []).reduce((sum, { contribution }) => sum + contribution, 0);
}
