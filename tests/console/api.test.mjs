import assert from "node:assert/strict";
import test from "node:test";

import { createApi, withQuery } from "../../service/console/lib/api.js";

function storage() {
  const kept = new Map();
  return {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, value),
    removeItem: (key) => kept.delete(key),
  };
}

const json = (status, body) => new Response(JSON.stringify(body), { status });
const refused = () =>
  json(401, { error: { code: "unauthorized", message: "An API key is needed", field: null }, request_id: "r1" });

/** A service that takes one key. */
const guarded =
  (key) =>
  async (_, { headers }) =>
    headers.Authorization === `Bearer ${key}` ? json(200, { ok: true }) : refused();

test("a failure has the code, the message and the field of the answer", async () => {
  const body = { error: { code: "invalid_request", message: "Too small", field: "n" }, request_id: "r1" };
  const api = createApi({ signIn: null, fetch: async () => json(422, body), storage: storage() });
  await assert.rejects(api.post("/x", {}), {
    status: 422,
    code: "invalid_request",
    message: "Too small",
    field: "n",
    requestId: "r1",
  });
});

test("no answer, and an answer that is no JSON, are failures too", async () => {
  const silent = createApi({
    signIn: null,
    fetch: async () => {
      throw new TypeError("refused");
    },
    storage: storage(),
  });
  await assert.rejects(silent.get("/x"), { status: 0, code: "unreachable" });
  const proxy = createApi({
    signIn: null,
    fetch: async () => new Response("<h1>", { status: 502 }),
    storage: storage(),
  });
  await assert.rejects(proxy.get("/x"), { status: 502, code: "bad_answer" });
});

test("a request that the page gave up is no failure of the service", async () => {
  const aborted = Object.assign(new Error("gone"), { name: "AbortError" });
  const api = createApi({
    signIn: null,
    fetch: async () => {
      throw aborted;
    },
    storage: storage(),
  });
  await assert.rejects(api.get("/x"), { name: "AbortError" });
});

test("who is refused is asked once for all requests, and again with the reason while the key is wrong", async () => {
  const asked = [];
  const keys = ["wrong", "right"];
  const signIn = async (error) => {
    asked.push(error?.code ?? null);
    return keys[asked.length - 1];
  };
  const api = createApi({ signIn, fetch: guarded("right"), storage: storage() });
  assert.deepEqual(await Promise.all([api.get("/a"), api.get("/b"), api.get("/c")]), [
    { ok: true },
    { ok: true },
    { ok: true },
  ]);
  assert.deepEqual(asked, [null, "unauthorized"]);
  assert.equal(api.signedIn(), true);
  api.signOut();
  assert.equal(api.signedIn(), false);
});

test("a query leaves out what is not there", () => {
  assert.equal(withQuery("/p", { prefix: "a b&", limit: 3, none: null }), "/p?prefix=a+b%26&limit=3");
});
