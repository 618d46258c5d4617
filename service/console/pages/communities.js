// The communities of the bundle in service: where their users are, how many, what they watch, whom they share.

import {
  announce,
  badge,
  bar,
  dataTable,
  emptyState,
  errorState,
  hue,
  loading,
  pageHead,
  panel,
} from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { counted, number, percent } from "../lib/format.js";
import { liftInWords, shade, sharedInWords } from "../lib/portrait.js";
import { formatRoute } from "../lib/route.js";
import { communityMap, markBadge } from "../parts/community-map.js";

export const title = "Communities";

const asBar = () => el("span", { class: "visually-hidden" }, "As a bar");
const WIDE_COLUMNS = 8; // up to which there is room for names beside them
const LEAD = "Groups of users with a taste in common. Each has a local model of its own; a user may be in several.";

export function render(root, context) {
  const body = el("div", { class: "page" }, loading());
  let shown = null;
  replace(root, pageHead(title, LEAD), body);

  async function load() {
    try {
      const portrait = await context.api.get("/admin/communities", context.signal);
      shown = portrait.bundle_id;
      replace(body, content(portrait, context));
    } catch (error) {
      if (context.signal.aborted) return;
      shown = null;
      replace(body, error.code === "no_portrait" ? noPortrait(context.service) : errorState(error, load));
    }
  }

  context.onService((service) => {
    if (service?.bundle && shown && service.bundle !== shown) load();
  });
  return load();
}

function noPortrait(service) {
  return emptyState({
    title: "This bundle has no portrait of its communities",
    text: `${service?.bundle ?? "It"} was built before portraits were part of a bundle. Build it anew and publish it:`,
    action: el("code", {}, "localrec bundle build --run RUN"),
  });
}

function content(portrait, context) {
  const { communities, map } = portrait;
  if (!communities.length) {
    return emptyState({ title: "This bundle has no communities", text: "Its one model serves everybody." });
  }
  const picture = communityMap(map, communities, select);
  const sizes = panel({ title: "Sizes", id: "sizes" }, sizesTable(portrait, select));
  const details = el("div", { id: "community-details", class: "community-details" });
  const asked = Number(context.params.get("community"));
  let selected = null;

  function select(community) {
    const again = selected === community;
    selected = community;
    picture.select(community);
    for (const button of sizes.querySelectorAll("button[data-community]")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.community) === community));
    }
    replace(details, communityPanels(portrait, communities[community]));
    context.setParams({ community }, { replace: true });
    if (!again) announce(`Community ${community}: ${counted(communities[community].n_users, "user")}`);
  }

  select(communities[asked] ? asked : 0);
  return [
    facts(portrait),
    el("div", { class: "split" }, panel({ title: "Map", id: "map" }, picture.element), sizes),
    details,
    panel({ title: "Overlap", id: "overlap" }, overlapTable(portrait)),
  ];
}

function facts({ bundle_id: bundle, n_users: users, coverage, mean_memberships: memberships, communities }) {
  const pairs = [
    ["Bundle", el("span", { class: "mono" }, bundle)],
    ["Communities", number(communities.length)],
    ["Users", number(users)],
    ["In at least one", percent(coverage)],
    ["Communities per user", `${number(memberships)} on average`],
  ];
  const fact = ([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value));
  return el("dl", { class: "facts" }, pairs.map(fact));
}

function sizesTable({ communities }, select) {
  const largest = Math.max(...communities.map(({ n_users: users }) => users));
  return dataTable({
    caption: "Users of each community; choose one to see it below",
    showCaption: true,
    columns: [
      { label: "Community", head: true, cell: (community) => chooser(community, select) },
      { label: "Users", numeric: true, cell: ({ n_users: users }) => number(users) },
      { label: "Share", numeric: true, cell: ({ share }) => percent(share, 0) },
      { label: asBar(), cell: ({ n_users: users, number: community }) => bar(users, largest, hue(community)) },
    ],
    rows: communities,
  });
}

function chooser({ number: community, name }, select) {
  return el(
    "button",
    {
      type: "button",
      class: "choice",
      data: { community },
      "aria-pressed": "false",
      "aria-controls": "community-details",
      on: { click: () => select(community) },
    },
    markBadge(community),
    el("span", { class: "choice-name" }, name || `Community ${community}`),
  );
}

function communityPanels({ overlap, n_users: all }, community) {
  const { number: index, name, adapter, n_users: users } = community;
  const head = el(
    "div",
    { class: "community-head" },
    el("h2", {}, `Community ${index}`, name && `: ${name}`),
    el(
      "p",
      { class: "muted" },
      badge(`adapter ${adapter}`),
      ` ${counted(users, "user")} of ${number(all)}. `,
      overlap.length > 1 && sharedInWords(overlap, index),
    ),
  );
  return [
    head,
    el(
      "div",
      { class: "split" },
      panel({ title: "Characteristic items", level: 3, id: "items" }, itemsTable(community)),
      panel({ title: "Members", level: 3, id: "members" }, members(community)),
    ),
  ];
}

function itemsTable({ number: community, items }) {
  const strongest = Math.max(...items.map(({ lift }) => lift), 1);
  return dataTable({
    caption: "How often the community's users met an item, compared with all users",
    showCaption: true,
    columns: [
      { label: "Item", head: true, cell: ({ title: name, item_id: id }) => name || id },
      { label: "Its users met it", cell: ({ lift }) => el("span", { class: "nowrap" }, liftInWords(lift)) },
      { label: asBar(), cell: ({ lift }) => bar(lift, strongest, hue(community)) },
    ],
    rows: items,
    empty: "No item stands out",
  });
}

function members({ members: ids, n_users: users }) {
  if (!ids.length) return el("p", { class: "muted" }, "Nobody is in it.");
  const all = counted(users, "member");
  const which = ids.length < users ? `The ${ids.length} nearest of ${all}.` : `All ${all}, the nearest first.`;
  const link = (id) => el("a", { class: "tag", href: formatRoute("try", { user: id }) }, id);
  return [
    el("p", { class: "muted small" }, which, " Choose one to see what is recommended, and why."),
    el(
      "ul",
      { class: "tags" },
      ids.map((id) => el("li", {}, link(id))),
    ),
  ];
}

function overlapTable({ overlap, communities }) {
  if (communities.length < 2) return el("p", { class: "muted" }, "There is only one community.");
  const columns = communities.map(({ number: column, name }) => ({
    label: el("span", { title: name }, column),
    numeric: true,
    cell: (row) => overlapCell(row.number === column ? null : overlap[row.number][column]),
  }));
  return dataTable({
    caption: "Share of a community's users (row) who belong to another one, too (column)",
    showCaption: true,
    columns: [
      { label: "Community", head: true, cell: (community) => overlapName(community, columns.length <= WIDE_COLUMNS) },
      ...columns,
    ],
    rows: communities,
  });
}

function overlapName({ number: row, name }, wide) {
  return [markBadge(row), " ", el("span", { class: wide ? "overlap-name" : "overlap-name overlap-short" }, name)];
}

function overlapCell(share) {
  if (share === null) return el("span", { class: "shade muted" }, "–");
  return el("span", { class: `shade shade-${shade(share)}` }, percent(share, 0));
}
