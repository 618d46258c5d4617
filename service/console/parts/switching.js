// Activate a bundle or roll back: ask first, then watch until it is in service, or was refused.

import { progress } from "../lib/activation.js";
import { isAborted } from "../lib/api.js";
import { announce, confirmDialog } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { counted } from "../lib/format.js";
import { pause } from "../lib/poll.js";

const EVERY_MS = 500;

/**
 * @param {object} context of the page
 * @param {() => Promise<void>} changed called when bundles should be looked at anew
 * @returns {{element: Node, isBusy: () => boolean, activate: Function, rollBack: Function}} `element` says what happens
 */
export function bundleSwitch(context, changed) {
  const element = el("div", { id: "switching", role: "status" });
  let busy = false;

  function say(kind, ...children) {
    replace(element, el("p", { class: `notice notice-${kind}` }, children));
  }

  async function move(path, wanted, from) {
    busy = true;
    say("warn", `Asking for ${wanted}. The gateway reads and checks the whole bundle first…`);
    try {
      await changed();
      await context.api.post(path, undefined, context.signal);
      await watch(wanted, from);
    } catch (error) {
      if (!isAborted(error)) say("bad", `${wanted} was not activated: ${error.message}. ${stays(from)}`);
    } finally {
      busy = false;
      await changed();
    }
  }

  async function watch(wanted, from) {
    const began = Date.now();
    while (!context.signal.aborted) {
      const { state, reason } = await lookedAt(wanted);
      if (state === "in_service") {
        say("good", `${wanted} is in service.`);
        announce(`${wanted} is in service`);
        context.look();
        return;
      }
      if (state === "refused") return say("bad", `${wanted} was refused: ${reason} ${stays(from)}`);
      if (state === "overtaken") return say("warn", `Meanwhile somebody made ${reason} the current bundle.`);
      const waited = counted(Math.round((Date.now() - began) / 1000), "second");
      say("warn", `${wanted} is current. ${from ?? "Nothing"} serves until the workers are ready: ${waited} so far.`);
      await pause(EVERY_MS, context.signal);
    }
  }

  /** A gateway that does not answer for a moment is looked at again. */
  async function lookedAt(wanted) {
    try {
      return progress(await context.api.get("/admin/bundles", context.signal), wanted);
    } catch (error) {
      if (isAborted(error) || error.code !== "unreachable") throw error;
      return { state: "waiting", reason: "" };
    }
  }

  async function activate({ in_service: from }, id) {
    const asked = { title: "Activate this bundle?", body: consequences(from, id), confirm: "Activate" };
    if (await confirmDialog(asked)) {
      await move(`/admin/bundles/${encodeURIComponent(id)}/activate`, id, from);
    }
  }

  async function rollBack({ in_service: from, previous }) {
    const asked = { title: "Roll back?", body: consequences(from, previous), confirm: "Roll back", danger: true };
    if (await confirmDialog(asked)) {
      await move("/admin/bundles/rollback", previous, from);
    }
  }

  return { element, isBusy: () => busy, activate, rollBack };
}

function stays(bundle) {
  return bundle === null ? "Nothing is in service." : `${bundle} stays in service.`;
}

function consequences(from, to) {
  return [
    el(
      "p",
      {},
      "From now on ",
      el("strong", { class: "mono" }, to),
      " is served",
      from && [" instead of ", el("span", { class: "mono" }, from)],
      ".",
    ),
    el(
      "ul",
      {},
      el("li", {}, "It is checked as a whole first; where anything is wrong, nothing changes."),
      el("li", {}, "Every gateway on this Redis follows when its workers have the adapters. No request fails."),
      from && el("li", {}, "The bundle that is served now becomes the previous one: Roll back returns to it."),
    ),
  ];
}
