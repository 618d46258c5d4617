// What a bundle is made of and how good it was offline.

import { badge, dataTable, definitions, panel } from "../lib/components.js";
import { el } from "../lib/dom.js";
import { bytes, counted, dateTime, number, significant } from "../lib/format.js";
import { bestSettings, flattened, settingsInWords, statisticsInWords } from "../lib/manifest.js";
import { stacked } from "../lib/stacked.js";

const SHOWN = 8;

/** The panels of a bundle. */
export function bundleDetails(bundle) {
  const { bundle_id: id, in_service: served, further } = bundle;
  const facts = definitions([
    ["Built", dateTime(bundle.created_at)],
    ["Communities", number(bundle.n_communities)],
    ["Further models", further.length ? further.join(", ") : "none"],
    ["Size", `${bytes(bundle.bytes)} in ${counted(bundle.n_files, "file")}`],
  ]);
  return el(
    "div",
    { class: "page", id: "details" },
    panel({ title: id, id: "bundle", actions: served ? [badge("in service", "good")] : [] }, facts),
    panel({ title: "Offline quality", id: "quality" }, quality(bundle.metrics)),
    panel({ title: "Data", id: "statistics" }, definitions(statisticsInWords(bundle.data_statistics))),
    panel({ title: "Settings", id: "settings" }, settings(bundle.config)),
  );
}

function quality(metrics) {
  const entries = Object.entries(metrics);
  if (!entries.length) return el("p", { class: "muted" }, "The bundle says nothing of its quality.");
  return entries.map(([name, value]) => metric(name, value));
}

function metric(name, value) {
  if (typeof value === "number") return definitions([[name, significant(value, 4)]]);
  const tried = bestSettings(value, SHOWN);
  if (!tried) return definitions(flattened({ [name]: value }).map(([path, each]) => [path, text(each)]));
  return dataTable({
    caption: `${name}: the best ${tried.rows.length} of ${tried.total} settings; the first is the best`,
    showCaption: true,
    columns: [
      { label: "Settings", head: true, cell: ({ settings: each }) => settingsInWords(each) },
      { label: tried.measure.toUpperCase(), numeric: true, cell: (row) => row[tried.measure].toFixed(4) },
    ],
    rows: tried.rows,
  });
}

function settings(config) {
  const rows = flattened(config);
  const shown = stacked(
    dataTable({
      caption: "Settings of the run that built the bundle",
      columns: [
        { label: "Setting", head: true, cell: ([path]) => el("code", {}, path) },
        { label: "Value", cell: ([, value]) => text(value) },
      ],
      rows,
    }),
  );
  return el("details", {}, el("summary", {}, counted(rows.length, "setting")), shown);
}

function text(value) {
  return Array.isArray(value) ? value.join(", ") || "none" : String(value ?? "none");
}
