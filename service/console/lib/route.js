// Where one is: `#/page?name=value`. Pure.

/** The route that a hash names; an unknown or missing one is the first page. */
export function parseRoute(hash, pages) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const page = pages.includes(path) ? path : pages[0];
  return { page, params: new URLSearchParams(page === path ? query : "") };
}

/** The hash of a page with its state; what is empty is left out. */
export function formatRoute(page, params = {}) {
  const entries = params instanceof URLSearchParams ? [...params] : Object.entries(params);
  const kept = new URLSearchParams(
    entries.filter(([, value]) => value !== null && value !== undefined && value !== ""),
  );
  const query = kept.toString();
  return `#/${page}${query ? `?${query}` : ""}`;
}
