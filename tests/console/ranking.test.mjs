import assert from "node:assert/strict";
import test from "node:test";

import { gone, jaccard, kendallTau, moves, rankBiasedOverlap, shared } from "../../service/console/lib/ranking.js";

const letters = (text) => [...text];
const close = (value, expected) => assert.ok(Math.abs(value - expected) < 1e-9, `${value} is not ${expected}`);

/** Rank-biased overlap by its definition: agreement at every depth, the last one taken to go on for ever. */
function extrapolated(first, second, p) {
  const depth = first.length;
  const agreement = (d) => shared(first.slice(0, d), second.slice(0, d)).length / d;
  let sum = 0;
  for (let d = 1; d < 2_000; d += 1) sum += (1 - p) * p ** (d - 1) * agreement(Math.min(d, depth));
  return sum;
}

test("an item is new, up, down or where it was", () => {
  const found = moves(letters("abcd"), letters("cbxa"));
  assert.deepEqual(Object.fromEntries(found), {
    c: { kind: "up", by: 2 },
    b: { kind: "same", by: 0 },
    x: { kind: "new", by: 0 },
    a: { kind: "down", by: 3 },
  });
  assert.deepEqual(gone(letters("abcd"), letters("cbxa")), ["d"]);
});

test("shared items stand in the order of the first list", () => {
  assert.deepEqual(shared(letters("abcd"), letters("dxb")), ["b", "d"]);
});

test("the Jaccard index is shared of all", () => {
  assert.equal(jaccard(letters("abc"), letters("bcd")), 0.5);
  assert.equal(jaccard(letters("ab"), letters("cd")), 0);
  assert.equal(jaccard([], []), 1);
});

test("rank-biased overlap is 1 for equal lists and 0 for lists without a common item", () => {
  close(rankBiasedOverlap(letters("abcde"), letters("abcde")), 1);
  assert.equal(rankBiasedOverlap(letters("abc"), letters("xyz")), 0);
  assert.equal(rankBiasedOverlap([], letters("a")), 0);
  assert.equal(rankBiasedOverlap([], []), 1);
});

test("rank-biased overlap is the sum of its definition", () => {
  for (const [first, second] of [
    ["abcdefg", "gfedcba"],
    ["abcd", "abdc"],
    ["abcde", "xaybz"],
  ]) {
    for (const p of [0.5, 0.9]) {
      close(rankBiasedOverlap(letters(first), letters(second), p), extrapolated(letters(first), letters(second), p));
    }
  }
});

test("a change at the top weighs more than one at the end", () => {
  const list = letters("abcdefghij");
  assert.ok(rankBiasedOverlap(list, letters("bacdefghij")) < rankBiasedOverlap(list, letters("abcdefghji")));
});

test("a list that is the beginning of the other agrees with it as far as it goes", () => {
  close(rankBiasedOverlap(letters("abc"), letters("abcdef")), 1);
  close(rankBiasedOverlap(letters("abcdef"), letters("abc")), 1);
});

test("Kendall's tau goes by the pairs of shared items", () => {
  assert.equal(kendallTau(letters("abcd"), letters("abcd")), 1);
  assert.equal(kendallTau(letters("abcd"), letters("dcba")), -1);
  close(kendallTau(letters("abc"), letters("bac")), 1 / 3);
  assert.equal(kendallTau(letters("axb"), letters("bay")), -1);
  assert.equal(kendallTau(letters("ab"), letters("ax")), null);
});
