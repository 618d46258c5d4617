// How: pipeline, fusion, communities. What is not set is as the service has it, and the control says what that is.

import { el, replace } from "../lib/dom.js";
import { field, select } from "../lib/components.js";
import { DAMPED, METHODS, pipelineOf, serviceSettings } from "../lib/trial.js";
import { methodName, shortMethod } from "../lib/words.js";
import { numberField } from "./number_field.js";

const K_SLIDER_MAX = 100;
const OFTEN_SET = ["method", "k", "communities"];
const OFTEN_LEFT = ["candidates", "cf", "global"]; // out of sight until somebody asks for them

/**
 * @param {{service: object, settings: object, bundles?: string[], beside?: HTMLElement, label: string,
 *   change: (settings: object) => void}} options `bundles`: those that are loaded here, where one may choose; `beside`:
 *   a control that stands beside the pipeline.
 * @returns {{element: HTMLElement, show: (settings: object) => void, belongs: (communities: number|null) => void}}
 *   `show`: draw other settings; `belongs`: how many communities the user belongs to, null where that is not known.
 */
export function settingsForm({ service, settings, bundles = [], beside, label, change }) {
  let current = settings;
  let members = null;
  let isOpen = OFTEN_LEFT.some((name) => settings[name] !== null);
  const element = el("div", { class: "settings", role: "group", "aria-label": label });

  function set(changed) {
    current = { ...current, ...changed };
    change(current);
    show(current);
  }

  function reset() {
    const { pipeline, bundle, deadline } = current;
    set({ ...serviceSettings(), pipeline, bundle, deadline });
    element.querySelector("select").focus();
  }

  function show(next) {
    current = next;
    const focused = element.contains(document.activeElement) ? document.activeElement.name : null;
    isOpen = element.querySelector("details")?.open ?? isOpen;
    replace(element, controls());
    if (focused) element.querySelector(`[name="${focused}"]`)?.focus();
  }

  function controls() {
    const pipeline = pipelineOf(current, service);
    return [
      el(
        "div",
        { class: "settings-head" },
        pipelineField(),
        bundles.length > 1 && bundleField(),
        beside,
        deadlineField(),
      ),
      pipeline?.fusion
        ? fusionControls(pipeline)
        : el("p", { class: "hint" }, "This pipeline serves one list as it is: there is nothing to fuse."),
    ];
  }

  function pipelineField() {
    const options = service.pipelines.map(({ name }) => [
      name,
      name === service.default_pipeline ? `${name} (default)` : name,
    ]);
    const value = current.pipeline ?? service.default_pipeline;
    const control = select(options, value, {
      name: "pipeline",
      on: {
        change: (event) => {
          const chosen = event.target.value;
          set({
            ...serviceSettings(),
            bundle: current.bundle,
            deadline: current.deadline,
            pipeline: chosen === service.default_pipeline ? null : chosen,
          });
        },
      },
    });
    return field({ label: "Pipeline" }, control);
  }

  function bundleField() {
    const options = bundles.map((id) => [id, id === service.bundle ? `${id} (in service)` : id]);
    const control = select(options, current.bundle ?? service.bundle, {
      name: "bundle",
      on: { change: (event) => set({ bundle: event.target.value === service.bundle ? null : event.target.value }) },
    });
    return field({ label: "Bundle" }, control);
  }

  function deadlineField() {
    return numberOf({
      name: "deadline",
      label: "Deadline, ms",
      min: 1,
      max: 10_000,
      whole: true,
      shown: service.default_deadline_ms,
      class: "narrow",
    });
  }

  function fusionControls(pipeline) {
    const { fusion } = pipeline;
    const method = current.method ?? fusion.method;
    const isChanged = [...OFTEN_SET, ...OFTEN_LEFT].some((name) => current[name] !== null);
    return [
      el("div", { class: "settings-row" }, methodField(fusion), kField(fusion, method), communitiesField(pipeline)),
      el(
        "details",
        { class: "more", open: isOpen },
        el("summary", {}, "Other voters and list lengths"),
        el(
          "div",
          { class: "settings-row" },
          weightField("cf", "Weight of the CF model", fusion),
          weightField("global", "Weight of the adapter for all", fusion),
          numberOf({
            name: "candidates",
            label: "Items of each voter",
            min: 1,
            max: 1000,
            whole: true,
            shown: fusion.candidates,
          }),
        ),
      ),
      isChanged &&
        el("button", { type: "button", class: "quiet small reset", on: { click: reset } }, "Back to what is served"),
    ];
  }

  function methodField(fusion) {
    const options = METHODS.map((each) => [each, `${shortMethod(each)}${each === fusion.method ? " (served)" : ""}`]);
    const value = current.method ?? fusion.method;
    const control = select(options, value, {
      name: "method",
      on: { change: (event) => set({ method: event.target.value === fusion.method ? null : event.target.value }) },
    });
    return field({ label: "Fusion", hint: methodName(value) }, control);
  }

  function kField(fusion, method) {
    return numberOf({
      name: "k",
      label: "Damping k",
      min: 0,
      max: 10_000,
      shown: fusion.k,
      sliderMax: K_SLIDER_MAX,
      disabled: !DAMPED.has(method),
      hint: DAMPED.has(method)
        ? "Small: the first ranks decide. Large: to be in many lists does."
        : `${shortMethod(method)} has no damping.`,
    });
  }

  function communitiesField(pipeline) {
    const most = Math.max(1, Math.min(members ?? pipeline.max_communities, 100));
    const hint =
      members === null ? "At most; the nearest first." : `At most; the nearest first. This user belongs to ${members}.`;
    return numberOf({
      name: "communities",
      label: "Communities",
      min: 1,
      max: 100,
      whole: true,
      sliderMax: Math.max(most, current.communities ?? 1),
      shown: Math.min(pipeline.max_communities, most),
      hint,
    });
  }

  function weightField(name, text, fusion) {
    return numberOf({
      name,
      label: text,
      min: 0,
      max: 1000,
      shown: fusion.voters[name] ?? 0,
      step: 0.1,
      hint: "0: no vote. 1: as much as all communities.",
    });
  }

  function numberOf({ name, ...options }) {
    return numberField({
      ...options,
      name,
      value: current[name],
      change: (given) => {
        current = { ...current, [name]: given };
        change(current);
      },
      settled: () => show(current),
    });
  }

  /** Draws only what changes: somebody may be typing, or dragging a slider. */
  function belongs(communities) {
    if (communities === members) return;
    members = communities;
    show(current);
  }

  show(current);
  return { element, show, belongs };
}
