// Published bundles: which is served, what each holds; activate one, or go back to the one before.

import { known, refusal, standing } from "../lib/activation.js";
import { isAborted } from "../lib/api.js";
import { badge, emptyState, errorState, loading, pageHead, panel } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { every } from "../lib/poll.js";
import { bundleDetails } from "../parts/bundle-details.js";
import { bundleSwitch } from "../parts/switching.js";

export const title = "Bundles";

const EVERY_MS = 4_000;
const LEAD = "Models that can be served. A switch loses no request: the old bundle serves until the new one is ready.";

export function render(root, context) {
  const list = el("div", {}, loading());
  const details = el("div");
  const failure = el("div");
  const back = el("button", { type: "button", id: "roll-back", disabled: true }, "Roll back");
  const switching = bundleSwitch(context, look);
  let seen = "";
  let bundles = null;
  let open = null;
  back.addEventListener("click", () => switching.rollBack(bundles));
  replace(
    root,
    pageHead(title, LEAD, back),
    switching.element,
    failure,
    el("div", { class: "split" }, panel({ title: "Published", id: "published" }, list), details),
  );

  async function look() {
    try {
      bundles = await context.api.get("/admin/bundles", context.signal);
      replace(failure);
      show();
    } catch (error) {
      if (isAborted(error)) return;
      replace(failure, errorState(error, look));
      if (!bundles) replace(list);
    }
  }

  function show() {
    const busy = switching.isBusy();
    back.disabled = busy || bundles.previous === null;
    back.title = bundles.previous === null ? "No bundle was current before this one" : `To ${bundles.previous}`;
    const key = JSON.stringify([bundles, busy, open]);
    if (key === seen) return;
    seen = key;
    const { act, bundle } = list.contains(document.activeElement) ? document.activeElement.dataset : {};
    replace(list, bundleList(bundles, open, busy, { activate: (id) => switching.activate(bundles, id), choose }));
    if (act) list.querySelector(`[data-act="${act}"][data-bundle="${CSS.escape(bundle)}"]`)?.focus();
    if (open === null) chooseFirst();
  }

  function chooseFirst() {
    const wanted = [context.params.get("bundle"), bundles.in_service, bundles.published[0]];
    const first = wanted.find((id) => known(bundles).includes(id));
    if (first) choose(first);
  }

  async function choose(id) {
    open = id;
    context.setParams({ bundle: id }, { replace: true });
    show();
    replace(details, panel({ title: id, id: "details" }, loading()));
    try {
      const found = await context.api.get(`/admin/bundles/${encodeURIComponent(id)}`, context.signal);
      if (open === id) replace(details, bundleDetails(found));
    } catch (error) {
      if (isAborted(error) || open !== id) return;
      replace(
        details,
        panel(
          { title: id, id: "details" },
          errorState(error, () => choose(id)),
        ),
      );
    }
  }

  return every(EVERY_MS, look, context.signal);
}

function bundleList(bundles, open, busy, { activate, choose }) {
  const ids = known(bundles);
  if (!ids.length) {
    const how = el("code", {}, "localrec publish RUN/bundles/ID");
    return emptyState({
      title: "Nothing is published",
      text: "Publish what a run has built; it is then current:",
      action: how,
    });
  }
  return el(
    "ul",
    { class: "bundles" },
    ids.map((id) => {
      const why = refusal(bundles, id);
      const published = bundles.published.includes(id);
      return el(
        "li",
        { class: open === id ? "bundle chosen" : "bundle", data: { id } },
        button(
          "choose",
          id,
          { class: "choice mono", "aria-pressed": String(open === id), on: { click: () => choose(id) } },
          id,
        ),
        el(
          "div",
          { class: "bundle-state" },
          standing(bundles, id).map(([text, kind]) => badge(text, kind)),
          !published && badge("not published", "warn"),
          published &&
            bundles.current !== id &&
            button(
              "activate",
              id,
              { disabled: busy, "aria-label": `Activate ${id}`, on: { click: () => activate(id) } },
              "Activate…",
            ),
        ),
        why && el("p", { class: "notice notice-bad" }, why),
      );
    }),
  );
}

/** A button that is found again when the list is drawn anew. */
function button(act, bundle, properties, text) {
  return el("button", { type: "button", data: { act, bundle }, ...properties }, text);
}
