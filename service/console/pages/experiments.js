// Experiments: who takes part in what, what each variant serves at present, and what has been shown so far.

import { isAborted } from "../lib/api.js";
import { badge, emptyState, errorState, loading, pageHead, panel } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { percent } from "../lib/format.js";
import { every } from "../lib/poll.js";
import { growth, parseMetrics } from "../lib/prometheus.js";
import { experimentPanel, shadowsPanel } from "../parts/experiment.js";
import { reportPanel } from "../parts/report.js";

export const title = "Experiments";

const EVERY_MS = 5_000;
const LEAD = "Which users get which variant, what the variants serve now, and what has been shown so far.";

export function render(root, context) {
  const file = el("div", { class: "page" }, loading());
  const live = el("div");
  const report = el("div", { class: "page" });
  let views = [];
  let version = null;
  let atFirst = null;
  replace(root, pageHead(title, LEAD), file, live, report);

  async function lookAtFile() {
    const body = await context.api.get("/admin/experiments", context.signal);
    const seen = JSON.stringify(body);
    if (seen === version) return;
    version = seen;
    const built = fileView(body);
    views = built.views;
    replace(file, built.nodes);
  }

  async function lookAtCounters() {
    if (!views.length) return replace(live);
    const now = parseMetrics(await context.api.text("/metrics", context.signal));
    atFirst ??= now;
    const since = growth(now, atFirst);
    for (const view of views) view.update(now, since);
    return replace(live);
  }

  async function look() {
    try {
      await lookAtFile();
      await lookAtCounters();
    } catch (error) {
      if (isAborted(error)) return;
      if (version === null) replace(file);
      replace(live, errorState(error));
    }
  }

  showReport(report, context);
  return every(EVERY_MS, look, context.signal);
}

function fileView({ file, version, refused }) {
  const warning =
    refused &&
    el(
      "p",
      { class: "notice notice-warn" },
      el("strong", {}, "The file as it is now is not in force. "),
      refused,
      " The version before stays.",
    );
  if (!file.layers.length && !file.shadows.length) {
    return { views: [], nodes: [warning, file.holdout && whole(file, version), noExperiments()] };
  }
  const experiments = file.layers.flatMap((layer) =>
    layer.experiments.map((each) => experimentPanel(each, layer, file.kill_switch)),
  );
  const shadows = file.shadows.length ? [shadowsPanel(file.shadows)] : [];
  const views = [...experiments, ...shadows];
  return { views, nodes: [warning, whole(file, version), views.map(({ element }) => element)] };
}

function whole({ kill_switch: killed, header_override: forced, holdout }, version) {
  const held = holdout
    ? `${percent(holdout.share, 2)} of all users are held out of everything and get ${holdout.pipeline ?? "the default pipeline"}.`
    : "Nobody is held out.";
  return el(
    "div",
    { class: "whole" },
    el("p", { class: "muted" }, "File in force: ", el("span", { class: "mono" }, version.slice(0, 12)), `. ${held}`),
    killed && badge("kill switch is on: nobody takes part in anything", "bad"),
    forced && badge("requests may ask for variants", "info"),
  );
}

function noExperiments() {
  return emptyState({
    title: "No experiments",
    text:
      "Everybody gets the default pipeline. Write a file after deploy/experiments.toml, check it, and name it in the " +
      "setting experiments_file:",
    action: el("code", {}, "localrec experiment check experiments.toml --config gateway.toml"),
  });
}

async function showReport(node, context) {
  replace(node, panel({ title: "Report", id: "report" }, loading()));
  try {
    replace(node, reportPanel(await context.api.get("/admin/experiments/report", context.signal)));
  } catch (error) {
    if (isAborted(error)) return;
    const content = error.code === "no_report" ? noReport() : errorState(error, () => showReport(node, context));
    replace(node, panel({ title: "Report", id: "report" }, content));
  }
}

function noReport() {
  const commands = [
    "localrec export events --out data/online",
    "localrec experiment report NAME --data data/online --json report.json",
  ];
  return emptyState({
    title: "No report yet",
    text: "Export what was shown and done, judge it, and name the file in the setting admin.experiment_report:",
    action: el("pre", { tabindex: 0, "aria-label": "Commands" }, el("code", {}, commands.join("\n"))),
  });
}
