// How many items are wanted.

import { field } from "../lib/components.js";
import { el } from "../lib/dom.js";
import { bounded } from "../lib/trial.js";

/** A field for it; `change` is told each number that is allowed. */
export function itemsField(n, change) {
  const control = el("input", {
    type: "number",
    name: "n",
    min: 1,
    max: 100,
    step: 1,
    value: n,
    on: {
      change: () => {
        const given = bounded(control.value, 1, 100, true);
        control.setCustomValidity(given === null ? "Expected a whole number from 1 to 100" : "");
        if (given === null) control.reportValidity();
        else change(given);
      },
    },
  });
  return field({ label: "Items", class: "narrow" }, control);
}
