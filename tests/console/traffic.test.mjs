import assert from "node:assert/strict";
import { test } from "node:test";

import { parseMetrics } from "../../service/console/lib/prometheus.js";
import { changesAnything, stateOf, variantTraffic } from "../../service/console/lib/traffic.js";

const TEXT = `localrec_assignments_total{experiment="split",variant="cf"} 12
localrec_assignments_total{experiment="other",variant="cf"} 99
localrec_request_seconds_count{route="/recommend",pipeline="cf",variant="split:cf",outcome="ok"} 9
localrec_request_seconds_count{route="/recommend",pipeline="cf",variant="split:cf",outcome="degraded"} 1
localrec_request_seconds_count{route="/recommend",pipeline="",variant="",outcome="invalid_request"} 5
localrec_request_seconds_bucket{variant="split:cf",outcome="ok",le="0.1"} 9
localrec_request_seconds_bucket{variant="split:cf",outcome="ok",le="+Inf"} 9
localrec_request_seconds_bucket{variant="split:cf",outcome="degraded",le="0.1"} 0
localrec_request_seconds_bucket{variant="split:cf",outcome="degraded",le="+Inf"} 1
`;

test("a variant's requests, degraded share and latency, degraded answers included", () => {
  const traffic = variantTraffic(parseMetrics(TEXT), "split", "cf");
  assert.equal(traffic.assignments, 12);
  assert.equal(traffic.answers, 10);
  assert.equal(traffic.degradedShare, 0.1);
  assert.ok(Math.abs(traffic.p50.seconds - 0.1 * (5 / 9)) < 1e-12);
  assert.deepEqual(traffic.p95, { seconds: 0.1, above: true });
});

test("a variant that served nobody has no shares", () => {
  const traffic = variantTraffic(new Map(), "split", "cf");
  assert.deepEqual(traffic, { assignments: 0, answers: 0, degradedShare: null, p50: null, p95: null });
});

test("whether a variant changes anything", () => {
  assert.ok(!changesAnything({ pipeline: null, bundle: null, parameters: { fusion: null, deadline_ms: null } }));
  assert.ok(changesAnything({ pipeline: "cf", bundle: null, parameters: {} }));
  assert.ok(changesAnything({ pipeline: null, bundle: null, parameters: { diversity: 0 } }));
});

test("where an experiment stands", () => {
  const now = new Date("2026-06-01T00:00:00Z");
  const bounds = { enabled: true, starts: "2026-05-01T00:00:00Z", ends: "2026-06-01T00:00:00Z" };
  assert.equal(stateOf(bounds, false, now), "ended");
  assert.equal(stateOf({ ...bounds, ends: null }, false, now), "running");
  assert.equal(stateOf({ ...bounds, starts: "2026-06-02T00:00:00Z", ends: null }, false, now), "planned");
  assert.equal(stateOf({ ...bounds, enabled: false }, false, now), "off");
  assert.equal(stateOf(bounds, true, now), "stopped");
});
