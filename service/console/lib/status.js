// The state of the service: looked at every few seconds, shown in the header and as banners on every page.

import { badge } from "./components.js";
import { isAborted } from "./api.js";
import { el, replace } from "./dom.js";
import { counted } from "./format.js";
import { notices } from "./notices.js";

const EVERY_MS = 5_000;

/**
 * Look at `/admin/service` as long as the page is open.
 *
 * @returns {{look: () => Promise<void>, current: () => object|null, first: Promise<object|null>}} `first`: the first
 *   answer, null where there was none.
 */
export function watchService(api, { state, banners, changed, signOut }) {
  let service = null;
  let shown = "";

  async function look() {
    let error = null;
    try {
      service = await api.get("/admin/service");
    } catch (failure) {
      if (isAborted(failure)) return;
      error = failure;
    }
    const found = notices(service, error);
    showState(state, service, error, api.signedIn(), signOut);
    const key = JSON.stringify(found);
    if (key !== shown) showBanners(banners, found);
    shown = key;
    changed(error ? null : service);
  }

  async function keepLooking() {
    await look();
    setTimeout(keepLooking, EVERY_MS);
  }

  const first = look().then(() => {
    setTimeout(keepLooking, EVERY_MS);
    return service;
  });
  return { look, current: () => service, first };
}

function showState(node, service, error, signedIn, signOut) {
  const key = JSON.stringify([service?.ready, service?.bundle, service?.warnings?.length, error?.code, signedIn]);
  if (node.dataset.shown === key) return;
  node.dataset.shown = key;
  const bundle =
    service?.bundle && el("span", { class: "top-bundle", title: `In service: ${service.bundle}` }, service.bundle);
  const out = signedIn && el("button", { type: "button", class: "quiet", on: { click: signOut } }, "Sign out");
  replace(node, bundle, readiness(service, error), out);
}

function readiness(service, error) {
  if (error) return badge(error.code === "unreachable" ? "unreachable" : "no answer", "bad");
  if (!service.ready) return badge("not ready", "bad");
  if (service.warnings.length) return badge(counted(service.warnings.length, "warning"), "warn");
  return badge("ready", "good");
}

function showBanners(node, found) {
  node.hidden = found.length === 0;
  replace(
    node,
    found.map(({ kind, title, text, more }) =>
      el(
        "div",
        { class: `notice notice-${kind}`, data: { notice: kind } },
        el("p", {}, el("strong", {}, title), " ", text),
        more.length > 0 &&
          el(
            "details",
            {},
            el("summary", {}, counted(more.length, "message")),
            el(
              "ul",
              {},
              more.map((line) => el("li", {}, line)),
            ),
          ),
      ),
    ),
  );
}
