// Two lists side by side: what they share, and what moved between them.

import { badge, definitions } from "../lib/components.js";
import { el, replace, svg } from "../lib/dom.js";
import { counted, milliseconds, number, percent } from "../lib/format.js";
import { jaccard, kendallTau, moves, rankBiasedOverlap, shared } from "../lib/ranking.js";
import { idsOf } from "../lib/trial.js";
import { sourceName } from "../lib/words.js";
import { drawLines } from "./lines.js";
import { moveMark, reachable, row, walkable } from "./rows.js";

const PERSISTENCE = 0.9;
const WIDE = matchMedia("(min-width: 761px)");

/** How alike two answers are: figures with their names, and the gist in words. */
export function measures(a, b) {
  const [first, second] = [idsOf(a), idsOf(b)];
  const both = shared(first, second).length;
  const most = Math.max(first.length, second.length);
  const words = `${both} of ${counted(most, "item")} are in both lists.`;
  return { words, element: figures(first, second, both, most) };
}

function figures(first, second, both, most) {
  const tau = kendallTau(first, second);
  const same = first.filter((item, at) => second[at] === item).length;
  const rows = [
    ["shared", `${both} of ${most}`, "items in both lists"],
    ["same", String(same), "at the same rank in both"],
    ["jaccard", percent(jaccard(first, second), 0), "Jaccard: shared of all distinct items"],
    [
      "rbo",
      number(rankBiasedOverlap(first, second, PERSISTENCE)),
      `Rank-biased overlap, p = ${PERSISTENCE}: 1 is the same list; the top weighs most`,
    ],
    ["tau", tau === null ? "–" : number(tau), "Kendall's τ of shared items: 1 is the same order, −1 the reverse"],
  ];
  return rows.map(([name, value, what]) =>
    el(
      "div",
      { class: "figure", data: { measure: name } },
      el("p", { class: "figure-value" }, value),
      el("p", { class: "hint" }, what),
    ),
  );
}

/**
 * The two lists.
 *
 * @returns {{element: HTMLElement, show: (a: object, b: object) => void}}
 */
export function contrast({ signal }) {
  const drawing = svg("svg", { class: "lines", "aria-hidden": "true", focusable: "false" });
  const columns = el("div", { class: "columns columns-two" });
  const frame = el("div", { class: "board-frame" }, columns, drawing);
  const element = el("div", { class: "board", role: "group", "aria-label": "Both lists" }, frame);
  let lit = null;
  let chosen = null;
  let items = new Set();

  function show(a, b) {
    const [first, second] = [idsOf(a), idsOf(b)];
    items = new Set(shared(first, second));
    if (!items.has(chosen)) chosen = null;
    replace(columns, column("A", a, moves(second, first), chosen), column("B", b, moves(first, second), chosen));
    reachable(frame, chosen);
    light(null);
  }

  function light(item) {
    lit = item;
    for (const each of frame.querySelectorAll(".row")) each.classList.toggle("lit", each.dataset.item === item);
    draw();
  }

  function choose(item) {
    chosen = chosen === item ? null : item;
    for (const each of frame.querySelectorAll(".row"))
      each.setAttribute("aria-pressed", String(each.dataset.item === chosen));
    draw();
  }

  function draw() {
    if (WIDE.matches) drawLines(frame, drawing, [...columns.children], items, lit ?? chosen);
    else replace(drawing);
  }

  walkable(frame, { light, choose, signal });
  const resized = new ResizeObserver(draw);
  resized.observe(columns);
  signal.addEventListener("abort", () => resized.disconnect());
  return { element, show };
}

function column(side, { answer }, against, chosen) {
  const other = side === "A" ? "B" : "A";
  const rows = answer.items.map((item) => {
    const move = against.get(item.item_id);
    const line = row({
      item: item.item_id,
      rank: item.rank,
      title: item.title ?? item.item_id,
      chosen: item.item_id === chosen,
      aside:
        move.kind === "new" ? el("span", { class: "move move-only" }, `only ${side}`) : side === "B" && moveMark(move),
    });
    line.firstChild.classList.toggle("unserved", move.kind === "new");
    return line;
  });
  const timings = Object.values(answer.timings_ms);
  const facts = definitions([
    ["Pipeline", answer.pipeline],
    ["Bundle", el("span", { class: "mono" }, answer.model_version)],
    ["Time", milliseconds(answer.timings_ms.total ?? timings.reduce((all, each) => all + each, 0))],
    ["From", [...new Set(answer.items.map(({ source }) => sourceName(source)))].join(", ") || "–"],
  ]);
  return el(
    "section",
    { class: `column column-side side-${side.toLowerCase()}`, "aria-label": `List of side ${side}` },
    el(
      "header",
      {},
      el(
        "h3",
        {},
        `Side ${side}`,
        answer.degraded && badge("degraded", "warn"),
        side === "B" && el("span", { class: "muted small moves-hint" }, `moves are from ${other}`),
      ),
      facts,
    ),
    rows.length ? el("ol", {}, rows) : el("p", { class: "muted" }, "No item."),
  );
}
