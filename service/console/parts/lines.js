// Lines between the same item's rows in columns that stand side by side.

import { replace, svg } from "../lib/dom.js";

/**
 * @param {HTMLElement} frame what holds the columns; it is what the drawing is placed in.
 * @param {SVGElement} drawing an empty svg that covers the frame.
 * @param {HTMLElement[]} columns from left to right; rows are their `[data-item]`.
 * @param {Set<string>} items those that have lines.
 * @param {string|null} lit the one that stands out, and whose line skips columns that lack it.
 */
export function drawLines(frame, drawing, columns, items, lit) {
  drawing.setAttribute("width", 0); // else it would be measured with the rest, and never shrink
  drawing.setAttribute("height", 0);
  const origin = frame.getBoundingClientRect();
  drawing.setAttribute("width", frame.scrollWidth);
  drawing.setAttribute("height", frame.scrollHeight);
  const rows = columns.map((column) => rowsOf(column));
  const paths = [...items].filter((item) => item !== lit).flatMap((item) => pathsOf(item, rows, origin, frame, 1));
  const over = lit === null ? [] : pathsOf(lit, rows, origin, frame, rows.length);
  replace(
    drawing,
    paths.map((d) => svg("path", { d })),
    over.map((d) => svg("path", { d, class: "lit" })),
  );
}

function rowsOf(column) {
  return new Map([...column.querySelectorAll("[data-item]")].map((row) => [row.dataset.item, row]));
}

/** From each column that has the item to the next one that does, at most `reach` columns further. */
function pathsOf(item, rows, origin, frame, reach) {
  const having = rows.flatMap((column, at) => (column.has(item) ? [{ at, row: column.get(item) }] : []));
  return having
    .slice(1)
    .map((to, before) => ({ from: having[before], to }))
    .filter(({ from, to }) => to.at - from.at <= reach)
    .map(({ from, to }) => curve(from.row.getBoundingClientRect(), to.row.getBoundingClientRect(), origin, frame));
}

function curve(from, to, origin, frame) {
  const [left, top] = [origin.left - frame.scrollLeft, origin.top - frame.scrollTop];
  const [x1, y1] = [from.right - left, from.top + from.height / 2 - top];
  const [x2, y2] = [to.left - left, to.top + to.height / 2 - top];
  const bend = (x2 - x1) / 2;
  return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
}
