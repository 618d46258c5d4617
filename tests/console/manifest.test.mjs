import assert from "node:assert/strict";
import { test } from "node:test";

import { bestSettings, flattened, settingsInWords, statisticsInWords } from "../../service/console/lib/manifest.js";

test("nested documents as paths", () => {
  const document = { a: { b: 1, c: { d: null } }, e: [1, 2], f: [{ g: 1 }] };
  assert.deepEqual(flattened(document), [
    ["a.b", 1],
    ["a.c.d", null],
    ["e", [1, 2]],
    ["f", '[{"g":1}]'],
  ]);
});

test("statistics with their names and units, and unknown ones with their own", () => {
  const said = statisticsInWords({
    n_users: 943,
    density: 0.06304,
    first_timestamp: null,
    filters: { outside_core: 0, new_kind: 2 },
  });
  assert.deepEqual(said, [
    ["Users", "943"],
    ["Density", "6.3 %"],
    ["First interaction", "–"],
    ["Left out, too rare", "0"],
    ["filters: new kind", "2"],
  ]);
});

test("the best settings of a search", () => {
  const tried = [
    { settings: { method: "rrf", k: 10 }, ndcg: 0.1 },
    { settings: { method: "count", k: 0 }, ndcg: 0.2 },
  ];
  const best = bestSettings(tried, 1);
  assert.equal(best.measure, "ndcg");
  assert.equal(best.total, 2);
  assert.deepEqual(
    best.rows.map(({ settings }) => settings.method),
    ["count"],
  );
  assert.equal(bestSettings({ ndcg: 1 }, 1), null);
  assert.equal(bestSettings([{ ndcg: 1 }], 1), null);
});

test("settings of a fusion in words", () => {
  assert.equal(
    settingsInWords({
      method: "rrf",
      k: 10,
      others: [
        ["cf", 1],
        ["global", 0.5],
      ],
    }),
    "RRF, k 10; with cf ×1 and global ×0.5",
  );
  assert.equal(settingsInWords({ method: "scores", k: 0, others: [] }), "Scores");
  assert.equal(settingsInWords({ epochs: 3, deep: { n: 1 } }), "epochs 3, deep.n 1");
});
