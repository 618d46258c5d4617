// Wide tables on narrow screens: rows become blocks whose cells bear their column's label.

const ROLES = { TABLE: "table", THEAD: "rowgroup", TBODY: "rowgroup", TR: "row", TD: "cell" };

/**
 * Make a table stack where it is narrow. Its parts keep their roles, which browsers take from what is laid out as blocks.
 * @param {HTMLElement} frame what `dataTable` returns
 */
export function stacked(frame) {
  frame.classList.add("stacks");
  const labels = [...frame.querySelectorAll("thead th")].map((cell) => cell.textContent);
  for (const each of frame.querySelectorAll("table, thead, tbody, tr, td, th")) {
    each.setAttribute("role", each.tagName === "TH" ? headRole(each) : ROLES[each.tagName]);
  }
  for (const row of frame.querySelectorAll("tbody tr")) {
    [...row.children].forEach((cell, at) => {
      cell.dataset.label = labels[at];
    });
  }
  return frame;
}

function headRole(cell) {
  return cell.scope === "row" ? "rowheader" : "columnheader";
}
