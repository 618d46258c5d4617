import assert from "node:assert/strict";
import test from "node:test";

import { formatRoute, parseRoute } from "../../service/console/lib/route.js";

const PAGES = ["try", "workers"];

test("a hash names a page and its state", () => {
  const { page, params } = parseRoute("#/workers?a=1&a=2&title=Caf%C3%A9+%26+co", PAGES);
  assert.equal(page, "workers");
  assert.deepEqual(params.getAll("a"), ["1", "2"]);
  assert.equal(params.get("title"), "Café & co");
});

test("an unknown page is the first one, without the other's state", () => {
  for (const hash of ["", "#", "#/", "#/nowhere?a=1", "#main"]) {
    const { page, params } = parseRoute(hash, PAGES);
    assert.equal(page, "try");
    assert.equal(params.size, 0);
  }
});

test("a route comes back as it went, without what is empty", () => {
  const hash = formatRoute("try", { user: "a&b=c?#", none: null, nothing: undefined, empty: "" });
  assert.deepEqual([...parseRoute(hash, PAGES).params], [["user", "a&b=c?#"]]);
  assert.equal(formatRoute("workers"), "#/workers");
});
