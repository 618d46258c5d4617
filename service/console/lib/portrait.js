// What the portrait of the communities says, in words and in coordinates. Pure.

import { listed, number, percent } from "./format.js";

const HUES = 8;
const MARGIN = 0.06;

/** How much more often a community's users met an item than all users did. */
export function liftInWords(lift) {
  if (lift >= 1.05) return `${number(lift, lift < 2 ? 2 : 1)} times as often`;
  if (lift > 0.95) return "about as often";
  return `${number((1 - lift) * 100, 0)} % less often`;
}

/** Which other communities a community's users are in, the largest shares first. */
export function sharedInWords(overlap, number_) {
  const others = overlap[number_]
    .map((share, other) => ({ share, other }))
    .filter(({ share, other }) => other !== number_ && share >= 0.005)
    .sort((one, other) => other.share - one.share);
  if (!others.length) return "None of its users are in another community.";
  const [{ share: largest, other: first }, ...rest] = others;
  const shown = rest.slice(0, 3).map(({ share, other }) => `${percent(share, 0)} in community ${other}`);
  const further = shown.length ? `, ${listed(shown)}` : "";
  return `${percent(largest, 0)} of them are in community ${first}, too${further}.`;
}

/**
 * The map in a picture's coordinates.
 * @param {{users: number[][], anchors: number[][]}} map [x, y, nearest community or -1] and [x, y]
 * @returns {{groups: Map<number, number[][]>, anchors: number[][]}} users' places by community
 */
export function placed(map, width, height) {
  const place = placing([...map.users, ...map.anchors], width, height);
  const groups = new Map();
  for (const [x, y, community] of map.users) {
    if (!groups.has(community)) groups.set(community, []);
    groups.get(community).push(place(x, y));
  }
  return { groups, anchors: map.anchors.map(([x, y]) => place(x, y)) };
}

/** What a picture of the map shows, for those who do not see it. */
export function mapInWords({ users, anchors }) {
  const counts = new Map();
  for (const [, , community] of users) counts.set(community, (counts.get(community) ?? 0) + 1);
  const nearest = [...counts].filter(([community]) => community >= 0).sort(([one], [other]) => one - other);
  const none = counts.get(-1) ?? 0;
  return [
    `${number(users.length, 0)} users and ${anchors.length} anchors in two directions.`,
    `Nearest to ${listed(nearest.map(([community, count]) => `anchor ${community}: ${number(count, 0)} users`))}.`,
    none ? `${number(none, 0)} users are in no community.` : "",
    apartInWords(anchors),
  ]
    .filter(Boolean)
    .join(" ");
}

/** A step of shading, 0 to 10. */
export function shade(share) {
  return Math.round(Math.min(1, Math.max(0, share)) * 10);
}

/** The mark of a community beyond its colour: colours begin anew after eight. */
export function mark(community) {
  if (community < 0) return "cross";
  return Math.floor(community / HUES) % 2 ? "square" : "dot";
}

function placing(points, width, height) {
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  const [left, top] = [Math.min(...xs), Math.max(...ys)];
  const [wide, high] = [Math.max(...xs) - left || 1, top - Math.min(...ys) || 1];
  const inner = 1 - 2 * MARGIN;
  const scale = Math.min((width * inner) / wide, (height * inner) / high); // distances stay comparable
  const [x0, y0] = [(width - wide * scale) / 2, (height - high * scale) / 2];
  return (x, y) => [rounded(x0 + (x - left) * scale), rounded(y0 + (top - y) * scale)];
}

function rounded(value) {
  return Math.round(value * 10) / 10;
}

function apartInWords(anchors) {
  const pairs = anchors.flatMap((one, i) =>
    anchors.slice(i + 1).map((other, j) => [Math.hypot(one[0] - other[0], one[1] - other[1]), i, i + 1 + j]),
  );
  if (pairs.length < 2) return "";
  pairs.sort(([one], [other]) => one - other);
  const [, a, b] = pairs[0];
  const [, c, d] = pairs.at(-1);
  return `Closest to each other are anchors ${a} and ${b}, farthest apart ${c} and ${d}.`;
}
