// An experiment's report: lifts with their intervals, drawn and in words.

import { badge, dataTable, panel } from "../lib/components.js";
import { el, svg } from "../lib/dom.js";
import { counted, number, percent, significant } from "../lib/format.js";
import { byMetric, meaning, onAxis, reach, signed, valueInWords, verdict } from "../lib/lift.js";
import { stacked } from "../lib/stacked.js";

const WIDTH = 220;
const HEIGHT = 22;

/** The panel of a report that `localrec experiment report --json` wrote. */
export function reportPanel(report) {
  const compared = report.rows.filter(({ comparison }) => comparison);
  const to = reach(compared);
  const period = el("span", { class: "muted small" }, report.period);
  return panel(
    { title: `Report: ${report.experiment}`, id: "report", actions: [period] },
    report.warnings.map((warning) => el("p", { class: "notice notice-bad" }, warning)),
    split(report),
    resultTable(report, to),
    el(
      "p",
      { class: "muted small" },
      `The thick line is the ${percent(1 - report.alpha, 0)} interval of one look that was planned before; `,
      "the thin one holds at any number of looks. ",
      `The axis goes from ${signed(-to)} to ${signed(to)}; an arrow head: it goes on beyond.`,
    ),
    report.segments.length > 0 && segments(report),
  );
}

function split({ arms, mismatch_p_value: p, n_excluded: excluded, control }) {
  const users = arms.reduce((sum, { n_users: count }) => sum + count, 0);
  const odd = p < 0.001;
  return [
    dataTable({
      caption: `Split of ${counted(users, "user")}`,
      showCaption: true,
      columns: [
        { label: "Variant", head: true, cell: ({ variant }) => nameOf(variant, control) },
        { label: "Users", numeric: true, cell: ({ n_users: count }) => number(count) },
        { label: "Share", numeric: true, cell: ({ n_users: count }) => percent(users ? count / users : null, 2) },
        { label: "Expected", numeric: true, cell: ({ expected_share: share }) => percent(share, 2) },
        { label: "Lists", numeric: true, cell: ({ n_lists: lists }) => number(lists) },
      ],
      rows: arms,
    }),
    el(
      "p",
      {},
      badge(odd ? "not split as it should be" : "split as it should be", odd ? "bad" : "good"),
      el(
        "span",
        { class: "muted" },
        ` p = ${significant(p)}; ${counted(excluded, "user")} seen in several variants and left out.`,
      ),
    ),
  ];
}

function nameOf(variant, control) {
  return variant === control && control !== "control" ? `${variant} (control)` : variant;
}

function resultTable({ rows, alpha, control }, to) {
  const groups = [...byMetric(rows)].flatMap(([, own]) => {
    const base = own.find(({ comparison }) => !comparison);
    return own.filter(({ comparison }) => comparison).map((row) => ({ row, base }));
  });
  return stacked(
    dataTable({
      caption: `Change over ${control}`,
      showCaption: true,
      columns: resultColumns(alpha, to),
      rows: groups,
      empty: "There is no variant to compare",
    }),
  );
}

function resultColumns(alpha, to) {
  return [
    { label: "Metric", head: true, cell: ({ row }) => meaning(row.metric) },
    { label: "Variant", cell: ({ row }) => row.variant },
    { label: "Control", numeric: true, cell: ({ row, base }) => valueInWords(row.metric, base?.value ?? null) },
    { label: "Variant's", numeric: true, cell: ({ row }) => valueInWords(row.metric, row.value) },
    { label: "Change", numeric: true, cell: ({ row }) => signed(row.comparison.lift?.mean) },
    { label: "Interval", cell: ({ row }) => intervals(row.comparison, to) },
    { label: "In words", cell: ({ row }) => said(row, alpha) },
  ];
}

function said(row, alpha) {
  const { kind, text } = verdict(row, alpha);
  return kind === "plain" ? el("span", { class: "muted" }, text) : el("span", { class: `said said-${kind}` }, text);
}

function intervals({ lift, sequential_lift: sequential }, to) {
  if (!lift) return "–";
  const words =
    `${signed(lift.mean)}, from ${signed(lift.low)} to ${signed(lift.high)}; ` +
    `at any look from ${signed(sequential?.low)} to ${signed(sequential?.high)}`;
  return svg(
    "svg",
    { class: "interval", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": words },
    svg("title", {}, words),
    svg("line", { class: "zero", x1: WIDTH / 2, x2: WIDTH / 2, y1: 0, y2: HEIGHT }),
    sequential && line(sequential, to, "any-look"),
    line(lift, to, "one-look"),
    svg("circle", { cx: onAxis(lift, to).mean * WIDTH, cy: HEIGHT / 2, r: 4 }),
  );
}

function line(interval, to, kind) {
  const { low, high, cutLow, cutHigh } = onAxis(interval, to);
  const [left, right, y] = [low * WIDTH, high * WIDTH, HEIGHT / 2];
  return [
    svg("line", { class: kind, x1: left, x2: right, y1: y, y2: y }),
    cutLow && svg("path", { class: "head", d: `M${left + 5} ${y - 4}L${left} ${y}L${left + 5} ${y + 4}` }),
    cutHigh && svg("path", { class: "head", d: `M${right - 5} ${y - 4}L${right} ${y}L${right - 5} ${y + 4}` }),
  ];
}

function segments({ segments: rows, alpha }) {
  const compared = rows.filter(({ comparison }) => comparison);
  const to = reach(compared);
  const columns = resultColumns(alpha, to).filter(({ label }) => label !== "Control");
  columns.splice(1, 0, { label: "Segment", cell: ({ row }) => row.segment });
  const rowsOf = compared.map((row) => ({ row }));
  return el(
    "details",
    {},
    el("summary", {}, counted(compared.length, "comparison in segments", "comparisons in segments")),
    stacked(
      dataTable({ caption: `Segments; the axis goes to ${signed(to)}`, showCaption: true, columns, rows: rowsOf }),
    ),
  );
}
