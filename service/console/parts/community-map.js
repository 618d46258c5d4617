// The map of users and anchors as a picture: dots, crosses, and numbered anchors.

import { hue, uniqueId } from "../lib/components.js";
import { el, svg } from "../lib/dom.js";
import { mapInWords, mark, placed } from "../lib/portrait.js";

const WIDTH = 640;
const HEIGHT = 460;
const CAPS = { dot: "round", square: "square" };

/**
 * @param {{users: number[][], anchors: number[][]}} map of the portrait
 * @param {{number: number, name: string}[]} communities in the order of the anchors
 * @param {(community: number) => void} choose called where an anchor is clicked; the table of sizes has buttons for it
 * @returns {{element: Node, select: (community: number) => void}} `select` shows one community's users before all others
 */
export function communityMap(map, communities, choose) {
  const { groups, anchors } = placed(map, WIDTH, HEIGHT);
  const id = uniqueId("map");
  const users = [...groups].sort(([one], [other]) => one - other).map((group) => usersOf(...group));
  const marks = communities.map(({ number, name }) => anchorOf(number, name, anchors[number], choose));
  const words = mapInWords(map);
  const named = { role: "img", "aria-labelledby": `${id}-title`, "aria-describedby": `${id}-words` };
  const picture = svg(
    "svg",
    { class: "map", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, ...named },
    svg("title", { id: `${id}-title` }, "Map of users and anchors"),
    users,
    marks,
  );
  const caption = el(
    "figcaption",
    { class: "muted small" },
    el(
      "p",
      {},
      "A mark for each user, in the colour and shape of the nearest community; numbered anchors; crosses are ",
      "users of no community. Two directions show a part of the distances only.",
    ),
    el("p", { id: `${id}-words` }, words),
  );

  function select(community) {
    const isOf = (each) => Number(each.dataset.community) === community;
    for (const each of [...users, ...marks]) each.classList.toggle("chosen", isOf(each));
    const chosen = users.find(isOf);
    if (chosen) picture.insertBefore(chosen, firstMark());
    picture.append(marks[community]);
  }

  /** Anchors lie over users; which is the first changes, as the chosen one comes last. */
  function firstMark() {
    return picture.querySelector(".anchor");
  }

  return { element: el("figure", {}, picture, caption), select };
}

/** A community's number on its colour and shape. */
export function markBadge(community) {
  return el("span", { class: `mark mark-${mark(community)} ${hue(community)}` }, community);
}

function usersOf(community, places) {
  const kind = mark(community);
  const draw = kind === "cross" ? ([x, y]) => `M${x - 2} ${y - 2}l4 4m-4 0l4 -4` : ([x, y]) => `M${x} ${y}h.01`;
  const look = { class: `users users-${kind} ${hue(community)}`, "stroke-linecap": CAPS[kind] };
  return svg("path", { ...look, d: places.map(draw).join(""), data: { community } });
}

function anchorOf(community, name, [x, y], choose) {
  const shape =
    mark(community) === "square"
      ? svg("rect", { x: x - 10, y: y - 10, width: 20, height: 20, rx: 4 })
      : svg("circle", { cx: x, cy: y, r: 11 });
  const on = { click: () => choose(community) };
  return svg(
    "g",
    { class: `anchor ${hue(community)}`, data: { community }, on },
    svg("title", {}, `Anchor ${community}: ${name}`),
    shape,
    svg("text", { x, y: y + 4, "text-anchor": "middle" }, community),
  );
}
