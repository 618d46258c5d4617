// A text field with suggestions (the combobox pattern of ARIA): arrow keys choose, Enter takes, Escape closes.

import { isAborted } from "../lib/api.js";
import { announce, uniqueId } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { counted } from "../lib/format.js";

const WAIT_MS = 160;

/**
 * @param {object} options
 * @param {(text: string, signal: AbortSignal) => Promise<{options: {value: string, label: string, note?: string}[],
 *   more: boolean}>} options.suggest
 * @param {(option: {value: string, label: string}) => void} options.pick an option was taken.
 * @param {(text: string) => void} [options.enter] Enter was pressed on what was typed; without it, only options count.
 * @param {(error: Error) => void} options.failed suggestions could not be had.
 * @param {AbortSignal} options.signal the page was left.
 * @param {number} [options.least] characters from which on there are suggestions.
 * @param {boolean} [options.clears] whether the field is empty again after a pick.
 * @returns {{element: HTMLElement, input: HTMLInputElement}}
 */
export function combobox({ suggest, pick, enter, failed, signal, least = 0, clears = false, ...attributes }) {
  const listId = uniqueId("options");
  const input = el("input", {
    type: "text",
    role: "combobox",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    "aria-autocomplete": "list",
    "aria-expanded": "false",
    "aria-controls": listId,
    ...attributes,
  });
  const list = el("ul", { class: "options", role: "listbox", id: listId, hidden: true, "aria-label": "Suggestions" });
  let options = [];
  let active = -1;
  let asking = new AbortController();
  let waiting = 0;

  async function ask() {
    if (input.value.trim().length < least) {
      close();
      return;
    }
    asking.abort();
    asking = new AbortController();
    const { signal: mine } = asking;
    try {
      const found = await suggest(input.value.trim(), AbortSignal.any([mine, signal]));
      if (!mine.aborted && document.activeElement === input) open(found);
    } catch (error) {
      if (!isAborted(error)) failed(error);
    }
  }

  function askSoon() {
    clearTimeout(waiting);
    waiting = setTimeout(ask, WAIT_MS);
  }

  function open({ options: found, more }) {
    options = found;
    const rows = options.map(({ label, note }, at) =>
      el(
        "li",
        {
          role: "option",
          id: `${listId}-${at}`,
          "aria-selected": "false",
          on: { pointerdown: (event) => event.preventDefault(), click: () => take(at) },
        },
        el("span", {}, label),
        note && el("span", { class: "muted small" }, note),
      ),
    );
    const rest = more && el("li", { class: "options-more", role: "presentation" }, "More: type on");
    const none = options.length === 0 && el("li", { class: "options-more", role: "presentation" }, "Nothing found");
    replace(list, rows, rest, none);
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    mark(-1);
    announce(options.length ? `${counted(options.length, "suggestion")}${more ? ", and more" : ""}` : "Nothing found");
  }

  function close() {
    clearTimeout(waiting);
    asking.abort();
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    mark(-1);
  }

  function mark(at) {
    list.querySelector('[aria-selected="true"]')?.setAttribute("aria-selected", "false");
    active = at;
    const row = at < 0 ? null : document.getElementById(`${listId}-${at}`);
    row?.setAttribute("aria-selected", "true");
    row?.scrollIntoView({ block: "nearest" });
    if (row) input.setAttribute("aria-activedescendant", row.id);
    else input.removeAttribute("aria-activedescendant");
  }

  function take(at) {
    const option = options[at];
    input.value = clears ? "" : option.value;
    close();
    pick(option);
  }

  function onKey(event) {
    if (event.key === "Escape" && !list.hidden) close();
    else if (event.key === "Enter") onEnter();
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") step(event.key === "ArrowDown" ? 1 : -1);
    else return;
    event.preventDefault();
  }

  function step(by) {
    if (list.hidden) ask();
    else if (options.length)
      mark(active < 0 && by < 0 ? options.length - 1 : (active + by + options.length) % options.length);
  }

  function onEnter() {
    if (active >= 0) take(active);
    else if (enter && input.value.trim()) {
      close();
      enter(input.value.trim());
    } else if (!enter && options.length && !list.hidden) take(0);
  }

  input.addEventListener("input", askSoon);
  input.addEventListener("keydown", onKey);
  input.addEventListener("click", () => list.hidden && ask());
  input.addEventListener("blur", close);
  return { element: el("div", { class: "combobox" }, input, list), input };
}
