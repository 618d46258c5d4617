import assert from "node:assert/strict";
import { test } from "node:test";

import {
  changesInWords,
  coverageInWords,
  quantileInWords,
  shares,
  windowInWords,
} from "../../service/console/lib/experiment-words.js";
import { milliseconds } from "../../service/console/lib/format.js";

test("what a variant changes", () => {
  const parameters = {
    deadline_ms: 150,
    max_communities: null,
    fusion: { method: "rrf", k: 20, voters: { cf: 0.5 } },
    diversity: 0,
    max_per: { brand: 2 },
  };
  assert.equal(
    changesInWords({ pipeline: "local", bundle: null, parameters }),
    "pipeline local; deadline 150 ms; fusion: RRF, k 20, voters cf ×0.5; diversity 0; at most 2 of one brand",
  );
  assert.equal(
    changesInWords({ pipeline: null, bundle: null, parameters: {} }),
    "nothing: as the service is without it",
  );
});

test("windows and coverage", () => {
  assert.equal(windowInWords({ starts: null, ends: null }), "without a limit in time");
  assert.match(windowInWords({ starts: "2026-01-05T08:00:00Z", ends: null }), /^from .*2026.* on$/);
  assert.equal(coverageInWords({ coverage: 1, offset: 0 }), "all users of the layer");
  assert.equal(coverageInWords({ coverage: 0.4, offset: 0.6 }), "40 % of the layer's users, from 60 % to 100 %");
});

test("shares of users by weight", () => {
  assert.deepEqual(shares([{ weight: 9 }, { weight: 1 }]), [0.9, 0.1]);
});

test("quantiles, also beyond the last bucket", () => {
  assert.equal(quantileInWords(null, milliseconds), "–");
  assert.equal(quantileInWords({ seconds: 0.0123, above: false }, milliseconds), "12 ms");
  assert.equal(quantileInWords({ seconds: 2, above: true }, milliseconds), "over 2 s");
});
