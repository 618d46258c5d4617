import assert from "node:assert/strict";
import { test } from "node:test";

import { byMetric, onAxis, reach, signed, valueInWords, verdict } from "../../service/console/lib/lift.js";

const lift = (mean, low, high) => ({
  lift: { mean, low, high },
  sequential_lift: { mean, low: low - 0.1, high: high + 0.1 },
});
const row = (metric, comparison, p, always) => ({ metric, comparison, p_holm: p, sequential_p_holm: always });

test("verdicts: direction, whether it is wanted, and when it holds", () => {
  const up = lift(0.05, 0.01, 0.09);
  assert.deepEqual(verdict(row("conversion", up, 0.01, 0.02), 0.05), {
    kind: "good",
    text: "More, better; holds at any look",
  });
  assert.deepEqual(
    verdict(row("conversion", up, 0.01, 0.2), 0.05).text,
    "More, better; holds if this is the one look that was planned",
  );
  assert.equal(verdict(row("latency-p95", up, 0.01, 0.02), 0.05).kind, "bad");
  assert.equal(
    verdict(row("latency-p95", lift(-0.05, -0.09, -0.01), 0.01, 0.02), 0.05).text,
    "Less, better; holds at any look",
  );
});

test("no difference is said with what is possible", () => {
  const said = verdict(row("conversion", lift(0.01, -0.02, 0.04), 0.4, 1), 0.05);
  assert.deepEqual(said, { kind: "plain", text: "No difference shown: from −2\u00a0% to +4\u00a0% is possible" });
  assert.equal(verdict(row("conversion", { lift: null }, null, null), 0.05).kind, "plain");
});

test("the axis reaches as far as the widest interval, within bounds", () => {
  assert.equal(reach([]), 0.05);
  assert.equal(reach([{ comparison: lift(0, -0.02, 0.1) }]), 0.2);
  assert.equal(reach([{ comparison: lift(0, -0.5, 5) }]), 1);
  const place = onAxis({ low: -0.5, mean: 0, high: 3 }, 1);
  assert.deepEqual(place, { low: 0.25, mean: 0.5, high: 1, cutLow: false, cutHigh: true });
});

test("values in their units", () => {
  assert.equal(valueInWords("latency-p50", 20.23), "20.2 ms");
  assert.equal(valueInWords("click-through", 0.0973), "9.73 %");
  assert.equal(valueInWords("revenue", 2.2523), "2.252");
  assert.equal(valueInWords("revenue", null), "–");
  assert.deepEqual([0, 0.1, -0.1, null].map(signed), ["0\u00a0%", "+10\u00a0%", "−10\u00a0%", "–"]);
});

test("rows by metric, in their order", () => {
  const rows = [
    { metric: "b", v: 1 },
    { metric: "a", v: 2 },
    { metric: "b", v: 3 },
  ];
  assert.deepEqual(
    [...byMetric(rows)].map(([metric, own]) => [metric, own.length]),
    [
      ["b", 2],
      ["a", 1],
    ],
  );
});
