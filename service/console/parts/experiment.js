// An experiment's panel, whose counters are kept up to date.

import { badge, bar, dataTable, panel } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import {
  changesInWords,
  coverageInWords,
  parametersInWords,
  quantileInWords,
  shares,
  stateInWords,
  windowInWords,
} from "../lib/experiment-words.js";
import { milliseconds, number, percent } from "../lib/format.js";
import { select, total } from "../lib/prometheus.js";
import { stacked } from "../lib/stacked.js";
import { changesAnything, stateOf, variantTraffic } from "../lib/traffic.js";

const COUNTERS = [
  ["assignments", "Requests", ({ assignments }) => number(assignments)],
  ["p50", "Latency, median", ({ p50 }) => quantileInWords(p50, milliseconds)],
  ["p95", "95th percentile", ({ p95 }) => quantileInWords(p95, milliseconds)],
  ["degraded", "Degraded", ({ degradedShare }) => percent(degradedShare)],
];
const UNLABELLED = new Set(["p50", "p95", "degraded"]);
const UNLABELLED_WHY =
  "Requests of a variant that changes nothing are counted with those of users in no experiment: " +
  "their latency is not known apart.";

/**
 * @param {object} experiment of the file, in its `layer`
 * @returns {{element: Node, update: (now: Map, since: Map) => void}} `update` with the metrics in all and since the page
 *   was opened
 */
export function experimentPanel(experiment, layer, killSwitch) {
  const { name, variants } = experiment;
  const parts = shares(variants);
  const rows = variants.map((variant, at) => ({ variant, share: parts[at], cells: counterCells() }));
  const state = stateInWords(stateOf(experiment, killSwitch, new Date()));
  const element = panel(
    { title: name, id: `experiment-${name}`, actions: [badge(...state)] },
    el("p", { class: "muted" }, `Layer ${layer.name}: ${coverageInWords(experiment)}; ${windowInWords(experiment)}.`),
    layerBand(layer, experiment),
    variantsTable(name, rows),
    variants.some((variant) => !changesAnything(variant)) && el("p", { class: "muted small" }, UNLABELLED_WHY),
  );

  function update(now, since) {
    for (const { variant, cells } of rows) {
      const [all, opened] = [now, since].map((samples) => variantTraffic(samples, name, variant.name));
      for (const [key, , say] of COUNTERS) {
        const known = !UNLABELLED.has(key) || changesAnything(variant);
        replace(cells[key], known && say(all) !== "–" ? both(say(opened), say(all)) : "–");
      }
    }
  }

  return { element, update };
}

/** Shadows, and how often they were tried. */
export function shadowsPanel(shadows) {
  const rows = shadows.map((shadow) => ({ shadow, cell: el("span") }));
  const element = panel(
    { title: "Shadows", id: "shadows" },
    el("p", { class: "muted" }, "Pipelines that are tried on a share of requests after the answer, and never shown."),
    stacked(
      dataTable({
        caption: "Shadows, and how often they were tried",
        rows,
        columns: [
          { label: "Shadow", head: true, cell: ({ shadow }) => shadow.name },
          { label: "Share of requests", numeric: true, cell: ({ shadow }) => percent(shadow.share, 2) },
          {
            label: "Does",
            cell: ({ shadow }) => [`pipeline ${shadow.pipeline}`, ...parametersInWords(shadow.parameters)].join("; "),
          },
          { label: "Tried", cell: ({ cell }) => cell },
        ],
      }),
    ),
  );

  function update(now, since) {
    for (const { shadow, cell } of rows) {
      const tried = (samples) => total(select(samples, "localrec_shadows_total", { shadow: shadow.name }));
      const [all, opened] = [tried(now), tried(since)];
      replace(cell, `${number(opened)}, ${number(all)} in all`);
    }
  }

  return { element, update };
}

function both(opened, all) {
  return [el("strong", {}, opened), el("span", { class: "muted small" }, `${all} in all`)];
}

function counterCells() {
  const cell = (key) => el("span", { class: "counter", data: { counter: key } }, "…");
  return Object.fromEntries(COUNTERS.map(([key]) => [key, cell(key)]));
}

function variantsTable(experiment, rows) {
  const counters = COUNTERS.map(([key, label]) => ({ label, numeric: true, cell: ({ cells }) => cells[key] }));
  return stacked(
    dataTable({
      caption: `Variants of ${experiment}; counters since this page was opened, and in all since the gateway started`,
      showCaption: true,
      columns: [
        {
          label: "Variant",
          head: true,
          cell: ({ variant }) => el("span", { data: { variant: variant.name } }, variant.name),
        },
        { label: "Users", numeric: true, cell: ({ share }) => [percent(share), bar(share, 1)] },
        { label: "Changes", cell: ({ variant }) => changesInWords(variant) },
        ...counters,
      ],
      rows,
    }),
  );
}

/** The part of a layer's users that an experiment takes, as a band. */
function layerBand({ experiments }, experiment) {
  if (experiments.length < 2 && experiment.coverage >= 1) return null;
  const vars = { "--from": experiment.offset, "--part": experiment.coverage };
  return el("span", { class: "band", "aria-hidden": "true", vars });
}
