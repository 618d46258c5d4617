// What is tried: for whom, and how. Its state in the address, and the body of POST /admin/try. Pure.

export const METHODS = ["count", "rrf", "wrrf_cf", "wrrf_llm", "scores"];
export const VISITOR = "console-visitor"; // has no state of its own: the history that is composed is all that is known
export const DEFAULT_N = 10;

/** Those methods that damp ranks, to which k matters. */
export const DAMPED = new Set(["rrf", "wrrf_cf", "wrrf_llm"]);

/** Settings by name: how each is read from the address. Null means: as the service has it. */
const SETTINGS = {
  pipeline: text,
  bundle: text,
  method: (given) => (METHODS.includes(given) ? given : null),
  k: (given) => bounded(given, 0, 10_000, false),
  communities: (given) => bounded(given, 1, 100, true),
  candidates: (given) => bounded(given, 1, 1_000, true),
  cf: (given) => bounded(given, 0, 1_000, false),
  global: (given) => bounded(given, 0, 1_000, false),
  deadline: (given) => bounded(given, 1, 10_000, true),
};

/**
 * For whom.
 *
 * @returns {{kind: "user"|"history", user: string, history: string[]}} `history`: item ids, oldest first.
 */
export function readSubject(params) {
  const kind = params.get("who") === "history" ? "history" : "user";
  return { kind, user: (params.get("user") ?? "").trim(), history: distinct(params.getAll("history")) };
}

/** Entries for the address; what is not in use is left out. */
export function writeSubject({ kind, user, history }) {
  return kind === "user" ? [["user", user]] : [["who", "history"], ...history.map((item) => ["history", item])];
}

/** Whether there is anybody to ask for. */
export function isComplete({ kind, user, history }) {
  return kind === "user" ? user !== "" : history.length > 0;
}

/** How; `prefix` tells the sides of a comparison apart. */
export function readSettings(params, prefix = "") {
  return Object.fromEntries(Object.entries(SETTINGS).map(([name, read]) => [name, read(params.get(prefix + name))]));
}

/** Entries for the address; what is as the service has it is left out. */
export function writeSettings(settings, prefix = "") {
  return Object.keys(SETTINGS)
    .filter((name) => settings[name] !== null)
    .map((name) => [prefix + name, settings[name]]);
}

/** Nothing is other than the service has it. */
export function serviceSettings() {
  return readSettings(new URLSearchParams());
}

/** Items wanted. */
export function readN(params) {
  return bounded(params.get("n"), 1, 100, true) ?? DEFAULT_N;
}

/** The address's part for the items wanted. */
export function writeN(n) {
  return n === DEFAULT_N ? [] : [["n", n]];
}

/** The pipeline that is asked, as GET /admin/service describes it; null where there is none of that name. */
export function pipelineOf(settings, service) {
  const name = settings.pipeline ?? service?.default_pipeline;
  return service?.pipelines.find((pipeline) => pipeline.name === name) ?? null;
}

/** The body of POST /admin/try. A voter's weight goes with those of all others, which the service would else drop. */
export function tryBody(subject, n, settings, service) {
  const request = { user_id: subject.kind === "user" ? subject.user : VISITOR, n };
  if (subject.kind === "history") request.history = subject.history;
  if (settings.deadline !== null) request.deadline_ms = settings.deadline;
  const body = { request };
  if (settings.pipeline !== null) body.pipeline = settings.pipeline;
  if (settings.bundle !== null) body.bundle = settings.bundle;
  const overrides = pipelineOf(settings, service)?.fusion ? overridesOf(settings, service) : {};
  if (Object.keys(overrides).length > 0) body.overrides = overrides;
  return body;
}

/** The ids of the served items, best first. */
export function idsOf({ answer }) {
  return answer.items.map(({ item_id: id }) => id);
}

/** How many communities the user belongs to; null where the pipeline asks none. */
export function membersOf({ answer }) {
  const planned = answer.explanation.stages.find(({ name }) => name === "plan");
  const asked = planned?.asked.filter(({ community }) => community !== null) ?? [];
  return asked.length > 0 ? asked.length + planned.not_asked.length : null;
}

function overridesOf(settings, service) {
  const overrides = {};
  if (settings.communities !== null) overrides.max_communities = settings.communities;
  const fusion = given({ method: settings.method, k: settings.k, candidates: settings.candidates });
  const voters = given({ cf: settings.cf, global: settings.global });
  if (Object.keys(voters).length > 0) {
    fusion.voters = { ...pipelineOf(settings, service).fusion.voters, ...voters };
  }
  if (Object.keys(fusion).length > 0) overrides.fusion = fusion;
  return overrides;
}

function given(values) {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null));
}

function text(raw) {
  return raw?.trim() || null;
}

/** A number within bounds; null for everything else. */
export function bounded(raw, min, max, whole) {
  if (raw === null || raw === undefined || String(raw).trim() === "") return null;
  const value = Number(raw);
  if (!Number.isFinite(value) || value < min || value > max) return null;
  return whole && !Number.isInteger(value) ? null : value;
}

function distinct(values) {
  return [...new Set(values.filter((value) => value !== ""))];
}
