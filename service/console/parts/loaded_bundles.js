// The bundles that a try can be answered from.

/** Ids of those in memory here: the one in service first, then the one before it, then those of running experiments. */
export async function loadedBundles({ api, signal }) {
  const { in_service: inService, kept, canaries } = await api.get("/admin/bundles", signal).catch(nothingElse);
  const loaded = Object.keys(canaries).filter((id) => canaries[id] === "loaded");
  return [...new Set([inService, kept, ...loaded])].filter((id) => id !== null);
}

/** Without Redis nobody knows what is published; what is in service answers all the same. */
function nothingElse(error) {
  if (error.code !== "store_unavailable") throw error;
  return { in_service: null, kept: null, canaries: {} };
}
