import assert from "node:assert/strict";
import test from "node:test";

import { loadedBundles } from "../../service/console/parts/loaded_bundles.js";

const answering = (get) => ({ api: { get }, signal: null });

test("those that are in memory can answer, each once, and the one in service is first", async () => {
  const body = { in_service: "b2", kept: "b1", canaries: { b3: "loaded", b1: "loaded", b4: "b4: checksum" } };
  assert.deepEqual(await loadedBundles(answering(async () => body)), ["b2", "b1", "b3"]);
  const first = { in_service: null, kept: null, canaries: {} };
  assert.deepEqual(await loadedBundles(answering(async () => first)), []);
});

test("without Redis there is nothing to choose, and any other failure is one", async () => {
  const failing = (code) => answering(async () => Promise.reject(Object.assign(new Error(code), { code })));
  assert.deepEqual(await loadedBundles(failing("store_unavailable")), []);
  await assert.rejects(loadedBundles(failing("forbidden")), { code: "forbidden" });
});
