// Prometheus' text format, and what the console computes of it.

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{((?:\s*[a-zA-Z_]\w*="(?:[^"\\]|\\.)*"\s*,?)*)\s*\})?[ \t]+(\S+)/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const ESCAPES = { n: "\n", '"': '"', "\\": "\\" };

/**
 * The samples of an exposition.
 * @param {string} text as `GET /metrics` says it
 * @returns {Map<string, {name: string, labels: Object<string, string>, value: number}>} by the line's name and labels
 * @throws {Error} a line is none of Prometheus'
 */
export function parseMetrics(text) {
  const samples = new Map();
  for (const line of text.split("\n")) {
    if (!line.trim() || line.startsWith("#")) continue;
    const found = SAMPLE.exec(line);
    const value = found ? numberOf(found[3]) : NaN;
    if (!found || (Number.isNaN(value) && found[3] !== "NaN")) throw new Error(`Not a line of metrics: ${line}`);
    samples.set(`${found[1]}{${found[2] ?? ""}}`, { name: found[1], labels: labelsOf(found[2] ?? ""), value });
  }
  return samples;
}

/** Counters' growth from one scrape to a later one. One that fell began anew with its process, and has grown from 0. */
export function growth(later, earlier) {
  const grown = new Map();
  for (const [key, sample] of later) {
    const before = earlier.get(key)?.value ?? 0;
    grown.set(key, { ...sample, value: sample.value >= before ? sample.value - before : sample.value });
  }
  return grown;
}

/** Samples of a metric whose labels have these values. */
export function select(samples, name, labels = {}) {
  const wanted = Object.entries(labels);
  return [...samples.values()].filter(
    (sample) => sample.name === name && wanted.every(([label, value]) => sample.labels[label] === value),
  );
}

/** Sum of samples: over processes, routes, whatever they differ in. */
export function total(samples) {
  return samples.reduce((sum, sample) => sum + sample.value, 0);
}

/**
 * A quantile of a histogram, interpolated within its bucket as Prometheus' histogram_quantile does.
 * @param {Array} buckets samples of `…_bucket`, of one or more series
 * @param {number} level from 0 to 1
 * @returns {{seconds: number, above: boolean}|null} `above`: more than that, the largest bound; null: nothing observed
 */
export function quantile(buckets, level) {
  const counts = cumulated(buckets);
  const observed = counts.length ? counts[counts.length - 1][1] : 0;
  if (!observed) return null;
  const rank = level * observed;
  const at = counts.findIndex(([, count]) => count >= rank && count > 0);
  const [bound, count] = counts[at];
  const [below, before] = at > 0 ? counts[at - 1] : [0, 0];
  if (bound === Infinity) return { seconds: below, above: true };
  return { seconds: below + ((bound - below) * Math.max(rank - before, 0)) / (count - before), above: false };
}

function cumulated(buckets) {
  const counts = new Map();
  for (const { labels, value } of buckets) {
    const bound = numberOf(labels.le);
    counts.set(bound, (counts.get(bound) ?? 0) + value);
  }
  return [...counts].sort(([one], [other]) => one - other);
}

function labelsOf(text) {
  const labels = {};
  for (const [, name, value] of text.matchAll(LABEL)) {
    labels[name] = value.replace(/\\(.)/g, (_, escaped) => ESCAPES[escaped] ?? `\\${escaped}`);
  }
  return labels;
}

function numberOf(text) {
  if (text === "+Inf") return Infinity;
  return text === "-Inf" ? -Infinity : Number(text);
}
