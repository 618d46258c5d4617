// For whom: a user of the service, or a history that is composed here.

import { withQuery } from "../lib/api.js";
import { announce, explained, field, uniqueId } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { combobox } from "./combobox.js";

const FEW = 6;

/**
 * @param {{context: object, subject: object, titles: Map<string, string>, change: (subject: object) => void}} options
 *   `titles`: those that are known, by item; `change` is told each new subject.
 * @returns {{element: HTMLElement, show: (subject: object) => void}} `show`: draw another subject, or newer titles.
 */
export function subjectPicker({ context, subject, titles, change }) {
  let current = subject;
  const trouble = el("p", { class: "notice notice-bad small", role: "alert", hidden: true });
  const choice = kindChoice(current.kind, (kind) => set({ ...current, kind }));
  const user = userField();
  const examples = el("p", { class: "examples small" });
  const userPart = el(
    "div",
    { class: "subject-part" },
    field({ label: "User", holder: user.element }, user.input),
    examples,
  );
  const search = itemField();
  const chosen = el("ol", { class: "composed", "aria-label": "History, oldest first" });
  const hint = el("p", { class: "hint" });
  const historyPart = el(
    "div",
    { class: "subject-part" },
    field({ label: "Add items", holder: search.element }, search.input),
    hint,
    chosen,
  );
  const element = el("div", { class: "subject" }, choice.element, userPart, historyPart, trouble);

  function set(next) {
    trouble.hidden = true;
    current = next;
    show(next);
    change(next);
  }

  function show(next) {
    current = next;
    choice.show(next.kind);
    userPart.hidden = next.kind !== "user";
    historyPart.hidden = next.kind !== "history";
    if (document.activeElement !== user.input) user.input.value = next.user;
    examples.hidden = next.user !== "";
    hint.textContent = next.history.length
      ? "Oldest first: models go by the order."
      : "Search for titles that somebody could have liked, and add them.";
    const pressed = chosen.contains(document.activeElement) ? document.activeElement : null;
    const place = pressed && { item: pressed.closest("li").dataset.item, act: pressed.dataset.act };
    replace(chosen, next.history.map(composedItem));
    const at = place ? next.history.indexOf(place.item) : -1;
    if (at >= 0) focusOn(at, place.act);
  }

  function failed(error) {
    const { title, text } = explained(error);
    replace(trouble, `${title}. ${text}`);
    trouble.hidden = false;
  }

  function userField() {
    return combobox({
      suggest: suggestUsers(context),
      pick: ({ value }) => set({ ...current, user: value }),
      failed,
      enter: (text) => set({ ...current, user: text }),
      signal: context.signal,
      id: "user",
      name: "user",
      placeholder: "Type an id",
    });
  }

  function itemField() {
    return combobox({
      suggest: suggestItems(context),
      pick: add,
      failed,
      signal: context.signal,
      clears: true,
      least: 1,
      id: "item-search",
      placeholder: "Words of a title",
    });
  }

  function add({ value, label }) {
    titles.set(value, label);
    if (current.history.includes(value)) {
      announce(`${label} is in the history already`);
      return;
    }
    announce(`${label} added`);
    set({ ...current, history: [...current.history, value] });
  }

  function composedItem(item, at) {
    const name = titles.get(item) ?? item;
    const last = current.history.length - 1;
    const act = (label, sign, does, disabled = false) =>
      el(
        "button",
        {
          type: "button",
          class: "icon quiet",
          "aria-label": `${label} ${name}`,
          title: label,
          disabled,
          data: { act: label },
          on: { click: does },
        },
        sign,
      );
    return el(
      "li",
      { data: { item } },
      el("span", { class: "composed-title" }, name),
      act("Move up", "↑", () => move(at, -1), at === 0),
      act("Move down", "↓", () => move(at, 1), at === last),
      act("Remove", "×", () => remove(at)),
    );
  }

  function move(at, by) {
    const history = [...current.history];
    const [item] = history.splice(at, 1);
    history.splice(at + by, 0, item);
    set({ ...current, history });
    focusOn(at + by, by < 0 ? "Move up" : "Move down");
    announce(`${titles.get(item) ?? item} is number ${at + by + 1} of ${history.length}`);
  }

  function remove(at) {
    const [item] = current.history.slice(at, at + 1);
    set({ ...current, history: current.history.filter((_, each) => each !== at) });
    announce(`${titles.get(item) ?? item} removed`);
    if (current.history.length) focusOn(Math.min(at, current.history.length - 1), "Remove");
    else search.input.focus();
  }

  /** The same button of a row, or what is left to press there. */
  function focusOn(at, act) {
    const row = chosen.children[at];
    const button =
      row.querySelector(`[data-act="${act}"]:not(:disabled)`) ?? row.querySelector("button:not(:disabled)");
    button.focus();
  }

  async function showExamples() {
    const { options } = await suggestUsers(context)("", context.signal);
    if (options.length === 0) return;
    replace(
      examples,
      "For example ",
      options
        .slice(0, FEW)
        .map(({ value }) =>
          el("button", { type: "button", class: "chip", on: { click: () => set({ ...current, user: value }) } }, value),
        ),
    );
  }

  show(current);
  showExamples().catch(() => {}); // the page says itself what is wrong
  return { element, show };
}

function kindChoice(kind, chosen) {
  const name = uniqueId("who");
  const radios = [
    ["user", "A user"],
    ["history", "A history"],
  ].map(([value, label]) => {
    const radio = el("input", {
      type: "radio",
      name,
      value,
      checked: value === kind,
      on: { change: () => chosen(value) },
    });
    return { radio, element: el("label", {}, radio, el("span", {}, label)) };
  });
  const element = el(
    "fieldset",
    { class: "segments" },
    el("legend", { class: "visually-hidden" }, "For whom"),
    radios.map(({ element: each }) => each),
  );
  return {
    element,
    show: (value) =>
      radios.forEach(({ radio }) => {
        radio.checked = radio.value === value;
      }),
  };
}

function suggestUsers({ api }) {
  return async (prefix, signal) => {
    const { user_ids: ids, more } = await api.get(withQuery("/admin/users", { prefix, limit: 20 }), signal);
    return { options: ids.map((value) => ({ value, label: value })), more };
  };
}

function suggestItems({ api }) {
  return async (query, signal) => {
    const { items, more } = await api.get(withQuery("/admin/items", { query, limit: 20 }), signal);
    const options = items.map(({ item_id: value, title }) => ({
      value,
      label: title ?? value,
      note: title ? value : undefined,
    }));
    return { options, more };
  };
}
