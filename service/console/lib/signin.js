// The dialog that asks for a key.

import { announce, field, uniqueId } from "./components.js";
import { el } from "./dom.js";

/** Ask for an API key. Resolves to it; nothing works without, so that the dialog stays until there is one. */
export function signIn(refusal) {
  return new Promise((resolve) => {
    const id = uniqueId("dialog");
    const key = el("input", {
      type: "password",
      name: "key",
      required: true,
      autocomplete: "off",
      spellcheck: "false",
    });
    const why =
      refusal && el("p", { class: "notice notice-bad", role: "alert" }, `${refusal.message}.`.replace("..", "."));
    const dialog = el(
      "dialog",
      { id: "sign-in", "aria-labelledby": id, on: { cancel: (event) => event.preventDefault(), close: comeBack } },
      el(
        "form",
        { on: { submit: finish } },
        el("h2", { id }, "Sign in"),
        el("p", {}, "This service takes requests with an API key that has the scope admin."),
        why,
        field({ label: "API key", hint: "Kept in this tab until it is closed." }, key),
        el("div", { class: "actions" }, el("button", { class: "primary" }, "Sign in")),
      ),
    );

    function finish(event) {
      event.preventDefault();
      const given = key.value.trim();
      if (!given) return;
      dialog.remove();
      announce("Signing in");
      resolve(given);
    }

    /** A browser closes a dialog at the second Escape, whatever the page says. */
    function comeBack() {
      if (!dialog.isConnected) return;
      dialog.showModal();
      key.focus();
    }

    document.body.append(dialog);
    comeBack();
  });
}
