// What the service says of itself, in words. Pure.

import { counted, listed, number } from "./format.js";
import { gone, moves } from "./ranking.js";

const METHOD_NAMES = {
  count: "Count: how many lists have the item among their first ten",
  rrf: "RRF: reciprocal ranks, all communities alike",
  wrrf_cf: "wRRF (CF): reciprocal ranks, weighed by affinity",
  wrrf_llm: "wRRF (LLM): reciprocal ranks, weighed by how well each model served the user",
  scores: "Scores: standard deviations of each list, added up",
};
const SHORT_METHODS = { count: "Count", rrf: "RRF", wrrf_cf: "wRRF (CF)", wrrf_llm: "wRRF (LLM)", scores: "Scores" };
const SOURCES = {
  local: "the fused local models",
  collm: "CoLLM",
  hatllm: "HatLLM",
  ulmrec: "ULMRec",
  l2rec: "L2Rec",
  cf: "the global CF model",
  popular: "popularity",
};
const STEPS = { rotation: "rotation (it was shown lately)", diversity: "diversity", cap: "a cap on its kind" };
const FAILURES = {
  timeout: "did not answer in time",
  refused: "was too busy",
  unreachable: "could not be reached",
  not_found: "does not have the adapter",
  not_resident: "has no slot for the adapter now",
  untrusted: "failed the adapter's probe",
  invalid: "gave an answer that breaks the contract",
};
const REASONS = {
  models_skipped: "The models were not asked, because of load.",
  narrowed: "Fewer communities were asked, because of load",
  fewer_candidates: "Shorter lists were asked for, because of load",
  unknown_user: "Nothing is known of the user: no profile, and no history that could make one.",
  unknown_item: "The history names an item that the bundle does not know",
  capped: "Caps leave fewer items than were wanted.",
  few_items_pass: "Few items pass the filters.",
  new_index: "The model does not know the user, who got an index by the texts of their items",
  text_only: "The model has no vector for this, and goes by text alone",
  unreadable_state: "A part of the user's stored state cannot be read",
  redis_unavailable: "Redis did not answer, so that nothing is known of the user",
  bundle_not_ready: "The bundle that was asked for is not loaded; the one in service answered",
};
const LEFT_OUT = {
  seen: "seen already",
  excluded: "excluded by the request",
  hidden: "hidden by an operator",
  filtered: "not passing the filters",
  capped: "above a cap",
  not_candidates: "not among the candidates",
};

export const methodName = (method) => METHOD_NAMES[method] ?? method;
export const shortMethod = (method) => SHORT_METHODS[method] ?? method;
export const sourceName = (source) => SOURCES[source] ?? source;
export const failureWords = (why) => FAILURES[why] ?? why;

/** 1st, 2nd, 3rd, 4th, 11th. */
export function ordinal(rank) {
  const teens = rank % 100 >= 11 && rank % 100 <= 13;
  return `${rank}${teens ? "th" : (["th", "st", "nd", "rd"][rank % 10] ?? "th")}`;
}

/** A voter as people know it: its number for a community, its name for the others. */
export function voterName({ voter, name, community }) {
  if (community !== null && community !== undefined) return { short: `Community ${community}`, long: name };
  const others = { cf: "Global CF model", global: "Adapter for all", popular: "Popularity" };
  return { short: others[voter ?? name] ?? sourceName(voter ?? name), long: "" };
}

/** A reason of an answer, `code` or `code:detail`. */
export function reasonWords(reason) {
  const at = reason.indexOf(":");
  const [code, detail] = at < 0 ? [reason, ""] : [reason.slice(0, at), reason.slice(at + 1)];
  if (code.startsWith("worker_")) return `The worker of ${detail || "a voter"} ${failureWords(code.slice(7))}.`;
  const words = REASONS[code];
  if (!words) return reason;
  return detail ? `${words.replace(/\.$/, "")}: ${detail}.` : words.endsWith(".") ? words : `${words}.`;
}

/** What a stage of an explanation did. */
export function stageWords(stage) {
  return (STAGES[stage.name] ?? (() => ({ title: stage.name, text: "" })))(stage);
}

const USERS = {
  found: "Found a stored profile",
  folded_in: "Made a profile from the history",
  unknown: "Found nothing to make a profile from",
};

const STAGES = {
  state: ({ user, history }) => ({
    title: "State",
    text: `${USERS[user] ?? user}; the history has ${counted(history, "item")}.`,
  }),
  plan: ({ asked, not_asked: left }) => ({ title: "Plan", text: planWords(asked, left) }),
  fan_out: ({ answered, failed }) => ({ title: "Fan-out", text: fanOutWords(answered, failed) }),
  fuse: (stage) => ({ title: "Fuse", text: fuseWords(stage) }),
  fill: ({ items }) => ({ title: "Fill", text: fillWords(items) }),
  arrange: ({ pool, moved, diversity, discount }) => ({
    title: "Arrange",
    text:
      `Picked from the best ${pool} with diversity ${number(diversity)}` +
      `${discount > 0 ? ` and a discount of ${number(discount)} a showing` : ""}; ${counted(moved, "item")} moved.`,
  }),
};

function planWords(asked, left) {
  const isByCommunity = asked.some(({ community }) => community !== null);
  if (asked.length === 0) return "Asks no worker.";
  const names = asked.map(({ adapter }) => adapter);
  const out = left.map(
    ({ adapter, why }) => `${adapter} (${why === "quality" ? "saved under load" : "beyond the limit"})`,
  );
  return `Asks ${listed(names)}${isByCommunity && out.length ? `; not ${listed(out)}` : ""}.`;
}

function fuseWords({ method, k, lists, items }) {
  if (lists === 0) return "There was no list.";
  const damping = method === "count" || method === "scores" ? "" : `, k = ${number(k)}`;
  const many = `${counted(lists, "list")} of ${counted(items, "distinct item")}`;
  return `${many} became one by ${shortMethod(method)}${damping}.`;
}

function fillWords(items) {
  const brought = Object.entries(items).map(([source, count]) => `${count} from ${sourceName(source)}`);
  return `${listed(brought) || "Nothing"}.`;
}

function fanOutWords(answered, failed) {
  const all = answered.length + failed.length;
  const ill = failed.map(({ adapter, why }) => `${adapter} ${failureWords(why)}`);
  return `${answered.length} of ${all} answered${ill.length ? `: ${listed(ill)}` : ""}.`;
}

/** Why an item is at its rank, in a sentence. */
export function placeWords({ rank, source, source_rank: sourceRank, moved }, n) {
  const brought = `Brought by ${sourceName(source)}, ${ordinal(sourceRank)} of what it brought`;
  if (!moved) return `${brought}; ${ordinal(rank)} of ${n} served.`;
  const by = moved.by.length ? ` by ${listed(moved.by.map((step) => STEPS[step] ?? step))}` : " as others moved";
  return `${brought}; moved from ${ordinal(moved.from_rank)} to ${ordinal(rank)}${by}.`;
}

/** How many items were left out, and why. */
export function leftOutWords(leftOut) {
  return Object.entries(leftOut).map(([why, count]) => `${number(count, 0)} ${LEFT_OUT[why] ?? why}`);
}

/** What became of a list of item ids, in a sentence. */
export function changeWords(before, after) {
  const kinds = [...moves(before, after).values()].map(({ kind }) => kind);
  const counts = ["up", "down", "new"].map((kind) => [kinds.filter((each) => each === kind).length, kind]);
  const parts = [...counts, [gone(before, after).length, "gone"]].filter(([count]) => count > 0);
  if (parts.length === 0) return "The list is the same as before.";
  return `Since the list before: ${parts.map(([count, kind]) => `${count} ${kind}`).join(", ")}.`;
}
