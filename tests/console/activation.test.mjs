import assert from "node:assert/strict";
import { test } from "node:test";

import { known, progress, refusal, standing } from "../../service/console/lib/activation.js";

const STATE = {
  published: ["b", "a"],
  current: "a",
  previous: "b",
  in_service: "a",
  canaries: {},
  kept: null,
  refused: null,
};

test("what becomes of an activated bundle", () => {
  assert.equal(progress(STATE, "a").state, "in_service");
  assert.deepEqual(progress(STATE, "b"), { state: "overtaken", reason: "a" });
  const moving = { ...STATE, current: "b" };
  assert.equal(progress(moving, "b").state, "waiting");
  const refused = { ...moving, refused: { bundle: "b", reason: "checksum" } };
  assert.deepEqual(progress(refused, "b"), { state: "refused", reason: "checksum" });
  assert.equal(progress({ ...moving, refused: { bundle: "c", reason: "checksum" } }, "b").state, "waiting");
});

test("what a bundle is at present", () => {
  assert.deepEqual(standing(STATE, "a"), [["in service", "good"]]);
  assert.deepEqual(standing(STATE, "b"), [["previous", "plain"]]);
  const moving = { ...STATE, current: "b", canaries: { c: "loaded", d: "no such file" } };
  assert.deepEqual(
    standing(moving, "b").map(([text]) => text),
    ["current, not in service yet", "previous"],
  );
  assert.deepEqual(
    standing(moving, "c").map(([text]) => text),
    ["canary of an experiment"],
  );
  assert.deepEqual(
    standing(moving, "d").map(([text]) => text),
    ["refused"],
  );
  assert.equal(refusal(moving, "d"), "no such file");
  assert.equal(refusal(moving, "a"), "");
});

test("bundles that are spoken of, published or not", () => {
  const state = { ...STATE, canaries: { d: "loaded" }, refused: { bundle: "e", reason: "" } };
  assert.deepEqual(known(state), ["a", "b", "d", "e"]);
  assert.deepEqual(known({ ...STATE, published: [], current: null, previous: null, in_service: null }), []);
});
