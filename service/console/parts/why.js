// Why an item is where it is.

import { bar, dataTable, hue } from "../lib/components.js";
import { el } from "../lib/dom.js";
import { number, percent, significant } from "../lib/format.js";
import { ordinal, placeWords, voterName } from "../lib/words.js";

/** The heading for an item. */
export function whyTitle(tried, item) {
  const served = tried.answer.items.find(({ item_id: id }) => id === item);
  const title = titleOf(tried, item);
  return served ? `Why “${title}” is ${ordinal(served.rank)}` : `Why “${title}” is not served`;
}

/** What is below it: a sentence, and each voter's part. */
export function whyBody(tried, item) {
  const served = tried.answer.items.find(({ item_id: id }) => id === item);
  const votes = served?.explanation ?? [];
  const sum = votes.reduce((all, { contribution }) => all + contribution, 0);
  const words = served
    ? placeWords(served, tried.answer.items.length)
    : "It is in a list, but the votes, or what arranges the served list, put others before it.";
  const rows = tried.lists.map((list) => ({
    list,
    vote: votes.find((vote) => isOf(vote, list)),
    seen: rankIn(list, item),
  }));
  return [
    el("p", {}, words),
    rows.length > 0 &&
      dataTable({
        caption: "Voters, and their parts in the item's score",
        columns: columns(sum, served !== undefined),
        rows,
      }),
    served &&
      votes.length > 1 &&
      el(
        "p",
        { class: "hint" },
        `Score ${significant(sum, 4)}: the sum of the parts. A voter's part is the score that its list alone gives.`,
      ),
  ];
}

function columns(sum, isServed) {
  const always = [
    { label: "Voter", head: true, cell: ({ list }) => voterCell(list) },
    { label: "Affinity", numeric: true, cell: ({ list }) => number(list.affinity, 3) },
    { label: "Weight", numeric: true, cell: ({ list }) => significant(list.weight) },
    {
      label: "Rank there",
      numeric: true,
      cell: ({ list, vote, seen }) => vote?.rank ?? seen ?? `below ${list.items.length}`,
    },
  ];
  if (!isServed || sum <= 0) return always;
  return [
    ...always,
    { label: "Part", numeric: true, cell: ({ vote }) => (vote ? significant(vote.contribution) : "–") },
    { label: "Share of the score", cell: ({ list, vote }) => shareCell(vote?.contribution ?? 0, sum, list.community) },
  ];
}

function voterCell(list) {
  const { short, long } = voterName(list);
  return el(
    "span",
    { class: hue(list.community) },
    el("span", { class: "swatch", "aria-hidden": "true" }),
    short,
    long && el("span", { class: "muted small voter-long" }, long),
  );
}

function shareCell(part, sum, community) {
  return el("span", { class: "share" }, bar(part, sum, hue(community)), el("span", {}, percent(part / sum, 0)));
}

function isOf(vote, list) {
  return vote.community === null
    ? list.community === null && vote.name === list.name
    : vote.community === list.community;
}

function rankIn(list, item) {
  return list.items.find(({ item_id: id }) => id === item)?.rank;
}

function titleOf({ answer, lists }, item) {
  const all = [answer.items, ...lists.map(({ items }) => items)].flat();
  return all.find(({ item_id: id }) => id === item)?.title ?? item;
}
