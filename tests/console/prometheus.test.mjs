import assert from "node:assert/strict";
import { test } from "node:test";

import { growth, parseMetrics, quantile, select, total } from "../../service/console/lib/prometheus.js";

const TEXT = `# HELP localrec_assignments_total Requests by variant
# TYPE localrec_assignments_total counter
localrec_assignments_total{experiment="split",variant="cf"} 3.0
localrec_assignments_total{experiment="split",variant="cf",process="2"} 4.0
localrec_assignments_total{experiment="a}b,\\"c\\"",variant="x\\\\n"} 1e+02
localrec_request_seconds_bucket{le="0.1"} 0.0
localrec_request_seconds_bucket{le="0.2"} 8.0
localrec_request_seconds_bucket{le="0.4"} 10.0
localrec_request_seconds_bucket{le="+Inf"} 10.0
up 1 1700000000000
missing NaN
`;

test("samples, labels with quotes, braces and backslashes", () => {
  const samples = parseMetrics(TEXT);
  assert.equal(samples.size, 9);
  assert.equal(total(select(samples, "localrec_assignments_total", { experiment: "split", variant: "cf" })), 7);
  const odd = select(samples, "localrec_assignments_total", { experiment: 'a}b,"c"' });
  assert.deepEqual(
    odd.map(({ labels, value }) => [labels.variant, value]),
    [["x\\n", 100]],
  );
  assert.equal(total(select(samples, "up")), 1);
});

test("what is no exposition is refused with the line", () => {
  assert.throws(() => parseMetrics("<html>"), /Not a line of metrics: <html>/);
  assert.throws(() => parseMetrics("up one"), /up one/);
});

test("growth of counters, of new ones, and of those whose process began anew", () => {
  const earlier = parseMetrics('c{p="1"} 5\nc{p="2"} 9\n');
  const grown = growth(parseMetrics('c{p="1"} 7\nc{p="2"} 3\nc{p="3"} 4\n'), earlier);
  assert.deepEqual(
    [...grown.values()].map(({ value }) => value),
    [2, 3, 4],
  );
});

test("quantiles as Prometheus interpolates them", () => {
  const buckets = select(parseMetrics(TEXT), "localrec_request_seconds_bucket");
  const half = quantile(buckets, 0.5);
  assert.ok(Math.abs(half.seconds - (0.1 + 0.1 * (5 / 8))) < 1e-12 && !half.above);
  assert.ok(Math.abs(quantile(buckets, 0.9).seconds - 0.3) < 1e-12);
});

test("a quantile beyond the last bound, and of nothing", () => {
  const beyond = parseMetrics('h_bucket{le="2.0"} 1\nh_bucket{le="+Inf"} 4\n');
  assert.deepEqual(quantile(select(beyond, "h_bucket"), 0.95), { seconds: 2, above: true });
  assert.equal(quantile([], 0.5), null);
  assert.equal(quantile(select(parseMetrics('h_bucket{le="+Inf"} 0\n'), "h_bucket"), 0.5), null);
});

test("a quantile over several series is that of all their observations", () => {
  const two = parseMetrics(
    'h_bucket{p="1",le="1.0"} 1\nh_bucket{p="1",le="2.0"} 1\nh_bucket{p="2",le="1.0"} 0\nh_bucket{p="2",le="2.0"} 3\n',
  );
  assert.ok(Math.abs(quantile(select(two, "h_bucket"), 1).seconds - 2) < 1e-12);
  assert.ok(Math.abs(quantile(select(two, "h_bucket"), 0.25).seconds - 1) < 1e-12);
});
