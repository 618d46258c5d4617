import assert from "node:assert/strict";
import test from "node:test";

import {
  bounded,
  isComplete,
  membersOf,
  readN,
  readSettings,
  readSubject,
  serviceSettings,
  tryBody,
  VISITOR,
  writeN,
  writeSettings,
  writeSubject,
} from "../../service/console/lib/trial.js";

const SERVICE = {
  default_pipeline: "local",
  pipelines: [
    { name: "local", kind: "local", fusion: { method: "rrf", k: 20, candidates: 100, voters: { cf: 1 } } },
    { name: "cf", kind: "cf", fusion: null },
  ],
};
const USER = { kind: "user", user: "12", history: [] };
const address = (entries) => new URLSearchParams(entries.map(([name, value]) => [name, String(value)]));

test("what is written into the address is read back", () => {
  const settings = {
    ...serviceSettings(),
    pipeline: "local",
    method: "wrrf_cf",
    k: 7.5,
    communities: 2,
    cf: 0,
    deadline: 900,
  };
  for (const prefix of ["", "a."]) {
    assert.deepEqual(readSettings(address(writeSettings(settings, prefix)), prefix), settings);
  }
  const history = { kind: "history", user: "", history: ["i,1", "i 2"] };
  for (const subject of [USER, history]) assert.deepEqual(readSubject(address(writeSubject(subject))), subject);
  assert.equal(readN(address(writeN(25))), 25);
  assert.deepEqual(writeN(10), []);
});

test("what an address says wrongly is as the service has it", () => {
  const read = readSettings(new URLSearchParams("method=magic&k=-1&communities=1.5&candidates=9999&cf=x&pipeline=+"));
  assert.deepEqual(read, serviceSettings());
  assert.equal(readN(new URLSearchParams("n=101")), 10);
  assert.equal(readN(new URLSearchParams("n=0")), 10);
});

test("a history names an item once", () => {
  const { history } = readSubject(new URLSearchParams("who=history&history=a&history=b&history=a&history="));
  assert.deepEqual(history, ["a", "b"]);
});

test("there is somebody to ask for, or there is not", () => {
  assert.equal(isComplete(USER), true);
  assert.equal(isComplete({ ...USER, user: "" }), false);
  assert.equal(isComplete({ kind: "history", user: "12", history: [] }), false);
});

test("a request says nothing that the service has already", () => {
  assert.deepEqual(tryBody(USER, 5, serviceSettings(), SERVICE), { request: { user_id: "12", n: 5 } });
});

test("a composed history is nobody's", () => {
  const body = tryBody({ kind: "history", user: "12", history: ["a", "b"] }, 5, serviceSettings(), SERVICE);
  assert.deepEqual(body.request, { user_id: VISITOR, n: 5, history: ["a", "b"] });
});

test("overrides hold what was changed", () => {
  const settings = { ...serviceSettings(), method: "count", k: 0, communities: 1, deadline: 300, bundle: "b2" };
  assert.deepEqual(tryBody(USER, 10, settings, SERVICE), {
    request: { user_id: "12", n: 10, deadline_ms: 300 },
    bundle: "b2",
    overrides: { max_communities: 1, fusion: { method: "count", k: 0 } },
  });
});

test("a voter's weight does not drop the other voters", () => {
  const settings = { ...serviceSettings(), global: 2 };
  assert.deepEqual(tryBody(USER, 10, settings, SERVICE).overrides, { fusion: { voters: { cf: 1, global: 2 } } });
});

test("a pipeline that fuses nothing is sent no fusion", () => {
  const settings = { ...serviceSettings(), pipeline: "cf", method: "count", communities: 1 };
  assert.deepEqual(tryBody(USER, 10, settings, SERVICE), { request: { user_id: "12", n: 10 }, pipeline: "cf" });
});

test("a number is within its bounds, or none", () => {
  assert.equal(bounded("0", 0, 1, false), 0);
  assert.equal(bounded(" ", 0, 1, false), null);
  assert.equal(bounded("1e9", 0, 1, false), null);
  assert.equal(bounded("Infinity", 0, Infinity, false), null);
  assert.equal(bounded("0.5", 0, 1, true), null);
});

test("a user's communities are those that are asked and those that are not", () => {
  const answered = (asked, left) => ({
    answer: { explanation: { stages: [{ name: "plan", asked, not_asked: left }] } },
  });
  const [community, everyone] = [{ community: 0 }, { community: null }];
  assert.equal(membersOf(answered([community, everyone], [{ community: 1 }])), 2);
  assert.equal(membersOf(answered([everyone], [{ community: 1 }])), null);
  assert.equal(membersOf(answered([], [])), null);
});
