// How two ranked lists of distinct items compare. Pure.

/**
 * What became of each item since a list before.
 *
 * @param {string[]} before item ids, best first.
 * @param {string[]} after likewise.
 * @returns {Map<string, {kind: "up"|"down"|"same"|"new", by: number}>} for each item of `after`; `by`: ranks moved.
 */
export function moves(before, after) {
  const ranks = rankOf(before);
  return new Map(after.map((item, at) => [item, moved(ranks.get(item), at)]));
}

/** The items of `before` that `after` lacks. */
export function gone(before, after) {
  const kept = new Set(after);
  return before.filter((item) => !kept.has(item));
}

/** Items in both lists, in the order of the first. */
export function shared(first, second) {
  const others = new Set(second);
  return first.filter((item) => others.has(item));
}

/** Jaccard index: shared items of all distinct ones, 0 to 1. Two empty lists are equal. */
export function jaccard(first, second) {
  const both = shared(first, second).length;
  const all = first.length + second.length - both;
  return all === 0 ? 1 : both / all;
}

/**
 * Rank-biased overlap, extrapolated (Webber, Moffat and Zobel 2010, equation 32): 1 for equal lists, 0 for lists
 * without a common item; the top weighs most.
 *
 * @param {string[]} first best first.
 * @param {string[]} second likewise, of any length.
 * @param {number} p persistence, above 0 and below 1; with 0.9, the first ten ranks have 86 % of the weight.
 */
export function rankBiasedOverlap(first, second, p = 0.9) {
  const [short, long] = [first, second].map((list) => list.length).sort((a, b) => a - b);
  if (short === 0) return long === 0 ? 1 : 0;
  const common = commonByDepth(first, second, long);
  const atShort = common[short];
  let sum = 0;
  for (let depth = 1; depth <= long; depth += 1) {
    const beyond = depth > short ? (atShort * (depth - short)) / short : 0;
    sum += ((common[depth] + beyond) / depth) * p ** depth;
  }
  return ((1 - p) / p) * sum + ((common[long] - atShort) / long + atShort / short) * p ** long;
}

/**
 * Kendall's tau over the items in both lists: 1 where all pairs stand in the same order, −1 where none does.
 *
 * @returns {number|null} null where fewer than two items are shared.
 */
export function kendallTau(first, second) {
  const ranks = rankOf(second);
  const order = shared(first, second).map((item) => ranks.get(item));
  if (order.length < 2) return null;
  let balance = 0;
  for (let i = 0; i < order.length; i += 1) {
    for (let j = i + 1; j < order.length; j += 1) balance += order[i] < order[j] ? 1 : -1;
  }
  return balance / ((order.length * (order.length - 1)) / 2);
}

/** Ranks, from 0, by item. */
export function rankOf(list) {
  return new Map(list.map((item, at) => [item, at]));
}

function moved(before, after) {
  if (before === undefined) return { kind: "new", by: 0 };
  const by = before - after;
  return { kind: by > 0 ? "up" : by < 0 ? "down" : "same", by: Math.abs(by) };
}

/** How many items the first d ranks of both lists share, for d = 0 … depth. */
function commonByDepth(first, second, depth) {
  const [left, right] = [new Set(), new Set()];
  const counts = [0];
  for (let at = 0; at < depth; at += 1) {
    const [a, b] = [first[at], second[at]];
    if (a !== undefined) left.add(a);
    if (b !== undefined) right.add(b);
    const found = a === b ? Number(a !== undefined) : Number(right.has(a)) + Number(left.has(b));
    counts.push(counts[at] + found);
  }
  return counts;
}
