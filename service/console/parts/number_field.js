// A number, with a slider beside it where that helps. Empty is as the service has it.

import { field, uniqueId } from "../lib/components.js";
import { el } from "../lib/dom.js";
import { bounded } from "../lib/trial.js";

/**
 * @param {object} options
 * @param {string} options.name of the control; the slider's is `NAME-slider`.
 * @param {string} options.label
 * @param {number} options.min least allowed.
 * @param {number} options.max most allowed.
 * @param {number|null} options.value null: as the service has it.
 * @param {number} options.shown what the service has.
 * @param {(given: number|null) => void} options.change is told each value that is allowed, while a slider moves too.
 * @param {() => void} options.settled the value stays for now.
 * @param {boolean} [options.whole] whole numbers only.
 * @param {number} [options.sliderMax] how far a slider goes; without it there is none.
 * @param {number} [options.step] of the arrow keys.
 */
export function numberField({
  name,
  label,
  min,
  max,
  value,
  shown,
  change,
  settled,
  whole = false,
  sliderMax,
  step,
  disabled = false,
  hint,
  class: more = "",
}) {
  const start = value ?? shown;
  const shared = { min, disabled, value: start };
  const control = el("input", {
    ...shared,
    type: "number",
    name,
    max,
    step: step ?? (whole ? 1 : "any"),
    on: { change: typed },
  });
  const slider =
    sliderMax === undefined
      ? null
      : el("input", {
          ...shared,
          type: "range",
          name: `${name}-slider`,
          max: sliderMax,
          step: 1,
          id: uniqueId("slider"),
          "aria-label": `${label}, slider`,
          on: { input: () => take(Number(slider.value)), change: settled },
        });

  function typed() {
    const given = bounded(control.value, min, max, whole);
    const isWrong = given === null && (control.value !== "" || control.validity.badInput);
    control.setCustomValidity(isWrong ? `Expected ${whole ? "a whole number" : "a number"} from ${min} to ${max}` : "");
    if (isWrong) {
      control.reportValidity();
      return;
    }
    take(given);
    settled();
  }

  function take(given) {
    control.value = given ?? shown;
    if (slider) slider.value = control.value;
    change(given === shown ? null : given);
  }

  const holder = slider && el("div", { class: "number-slider" }, slider, control);
  return field({ label, hint, class: more, holder }, control);
}
