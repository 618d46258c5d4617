import assert from "node:assert/strict";
import { test } from "node:test";

import { liftInWords, mapInWords, mark, placed, shade, sharedInWords } from "../../service/console/lib/portrait.js";

test("a lift in words", () => {
  assert.equal(liftInWords(3.16), "3.2 times as often");
  assert.equal(liftInWords(1.316), "1.32 times as often");
  assert.equal(liftInWords(1.02), "about as often");
  assert.equal(liftInWords(0.6), "40 % less often");
});

test("whom a community shares, the most first", () => {
  const overlap = [
    [1, 0.2, 0.5],
    [0.1, 1, 0.004],
    [0.3, 0.001, 1],
  ];
  assert.equal(sharedInWords(overlap, 0), "50 % of them are in community 2, too, 20 % in community 1.");
  assert.equal(
    sharedInWords(
      [
        [1, 0.4],
        [0, 1],
      ],
      0,
    ),
    "40 % of them are in community 1, too.",
  );
  assert.equal(
    sharedInWords(
      [
        [1, 0],
        [0, 1],
      ],
      0,
    ),
    "None of its users are in another community.",
  );
});

test("the map keeps proportions, grows upwards and stays inside", () => {
  const map = {
    users: [
      [0, 0, 0],
      [4, 2, 1],
      [2, 1, -1],
    ],
    anchors: [
      [0, 2],
      [4, 0],
    ],
  };
  const { groups, anchors } = placed(map, 640, 460);
  assert.deepEqual([...groups.keys()], [0, 1, -1]);
  const [[x0, y0]] = groups.get(0);
  const [[x1, y1]] = groups.get(1);
  assert.ok(Math.abs((x1 - x0) / (y0 - y1) - 2) < 0.01);
  assert.ok(y0 > y1);
  for (const [x, y] of [...groups.values()].flat().concat(anchors)) assert.ok(x > 0 && x < 640 && y > 0 && y < 460);
});

test("a map whose users are all in one place is drawn", () => {
  const { groups } = placed(
    {
      users: [
        [1, 1, 0],
        [1, 1, 0],
      ],
      anchors: [[1, 1]],
    },
    640,
    460,
  );
  assert.ok(groups.get(0).flat().every(Number.isFinite));
});

test("the map in words", () => {
  const users = [
    [0, 0, 0],
    [0, 1, 0],
    [5, 5, 1],
    [9, 9, -1],
  ];
  const words = mapInWords({
    users,
    anchors: [
      [0, 0],
      [5, 5],
      [6, 5],
    ],
  });
  assert.match(words, /4 users and 3 anchors/);
  assert.match(words, /anchor 0: 2 users and anchor 1: 1 users/);
  assert.match(words, /1 users are in no community/);
  assert.match(words, /Closest to each other are anchors 1 and 2, farthest apart 0 and 2/);
});

test("shading in steps, and marks beyond the colours", () => {
  assert.deepEqual([0, 0.04, 0.5, 1, 1.2].map(shade), [0, 0, 5, 10, 10]);
  assert.deepEqual([0, 7, 8, 15, 16, -1].map(mark), ["dot", "dot", "square", "square", "dot", "cross"]);
});
