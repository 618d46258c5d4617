import assert from "node:assert/strict";
import test from "node:test";

import { bytes, counted, listed, milliseconds, number, percent } from "../../service/console/lib/format.js";
import { notices } from "../../service/console/lib/notices.js";
import {
  changeWords,
  ordinal,
  placeWords,
  reasonWords,
  stageWords,
  voterName,
} from "../../service/console/lib/words.js";

test("numbers are for people, and what is none is a dash", () => {
  assert.equal(number(1234.567), "1,234.57");
  assert.equal(percent(0.1234), "12.3 %");
  assert.deepEqual([0.0004, 0.431, 12.4, 1234].map(milliseconds), ["0 ms", "0.43 ms", "12 ms", "1.2 s"]);
  assert.deepEqual([512, 1500, 2.5e9].map(bytes), ["512 B", "1.5 kB", "2.5 GB"]);
  for (const none of [null, undefined, NaN, "1"]) assert.equal(number(none), "–");
  assert.deepEqual([counted(1, "item"), counted(2, "item")], ["1 item", "2 items"]);
  assert.equal(listed(["a", "b", "c"]), "a, b and c");
  assert.deepEqual(
    [1, 2, 3, 4, 11, 12, 13, 21, 102, 111].map(ordinal),
    "1st 2nd 3rd 4th 11th 12th 13th 21st 102nd 111th".split(" "),
  );
});

test("a reason is a sentence, and an unknown one stays as it is", () => {
  assert.equal(reasonWords("worker_timeout:c01"), "The worker of c01 did not answer in time.");
  assert.equal(reasonWords("narrowed:1/3"), "Fewer communities were asked, because of load: 1/3.");
  assert.equal(reasonWords("capped"), "Caps leave fewer items than were wanted.");
  assert.equal(reasonWords("something_new:x"), "something_new:x");
});

test("a stage says what it did", () => {
  const plan = {
    name: "plan",
    ms: 1,
    asked: [{ adapter: "c00", community: 0 }],
    not_asked: [{ adapter: "c01", why: "max_communities" }],
  };
  assert.equal(stageWords(plan).text, "Asks c00; not c01 (beyond the limit).");
  const alone = { ...plan, asked: [{ adapter: "hatllm", community: null }] };
  assert.equal(stageWords(alone).text, "Asks hatllm.");
  const fanOut = { name: "fan_out", ms: 1, answered: ["c00"], failed: [{ adapter: "c01", why: "timeout" }] };
  assert.equal(stageWords(fanOut).text, "1 of 2 answered: c01 did not answer in time.");
  const fuse = { name: "fuse", ms: 1, method: "rrf", k: 20, lists: 2, items: 120 };
  assert.equal(stageWords(fuse).text, "2 lists of 120 distinct items became one by RRF, k = 20.");
  assert.equal(stageWords({ ...fuse, method: "scores" }).text, "2 lists of 120 distinct items became one by Scores.");
  assert.equal(stageWords({ name: "fill", ms: 1, items: {} }).text, "Nothing.");
  assert.equal(stageWords({ name: "a_later_stage", ms: 1 }).title, "a_later_stage");
});

test("a place is told with what moved it", () => {
  const item = { rank: 3, source: "local", source_rank: 5, moved: { from_rank: 5, by: ["diversity"] } };
  assert.equal(
    placeWords(item, 10),
    "Brought by the fused local models, 5th of what it brought; moved from 5th to 3rd by diversity.",
  );
  assert.match(placeWords({ ...item, moved: null }, 10), /3rd of 10 served\.$/);
  assert.match(placeWords({ ...item, moved: { from_rank: 5, by: [] } }, 10), /as others moved\.$/);
});

test("voters have names", () => {
  assert.deepEqual(voterName({ voter: "c03", name: "Alien · Aliens", community: 3 }), {
    short: "Community 3",
    long: "Alien · Aliens",
  });
  assert.equal(voterName({ voter: "cf", name: "cf", community: null }).short, "Global CF model");
});

test("notices tell the worst first, and gather warnings of one kind", () => {
  const service = {
    ready: false,
    reasons: ["redis: no contact for 12.0 s"],
    warnings: ["worker: local http://a: down", "worker: local http://b: down", "bundle: refused: checksum", "odd"],
  };
  const found = notices(service, null);
  assert.deepEqual(
    found.map(({ kind, title }) => [kind, title]),
    [
      ["bad", "Redis is down."],
      ["warn", "Workers."],
      ["warn", "Bundle refused."],
      ["warn", "Warning."],
    ],
  );
  assert.deepEqual(found[1].more, ["local http://a: down", "local http://b: down"]);
});

test("without an answer nothing else is told", () => {
  const service = { ready: true, reasons: [], warnings: ["worker: x: down"] };
  assert.deepEqual(
    notices(service, { code: "unreachable", message: "" }).map(({ title }) => title),
    ["Gateway unreachable."],
  );
  assert.deepEqual(notices({ ready: true, reasons: [], warnings: [] }, null), []);
  assert.equal(
    notices({ ready: false, reasons: ["bundle: none is published"], warnings: [] }, null)[0].title,
    "No bundle in service.",
  );
});

test("what became of a list is a sentence", () => {
  assert.equal(changeWords(["a", "b", "c"], ["c", "b", "x"]), "Since the list before: 1 up, 1 new, 1 gone.");
  assert.equal(changeWords(["a", "b"], ["a", "b"]), "The list is the same as before.");
});
