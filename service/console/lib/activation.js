// What becomes of a bundle that was made the current one. Pure.

/**
 * @param {{current: string|null, in_service: string|null, refused: {bundle: string, reason: string}|null}} bundles as
 *   `GET /admin/bundles` says it
 * @param {string} wanted the bundle that was activated
 * @returns {{state: "in_service"|"refused"|"overtaken"|"waiting", reason: string}}
 */
export function progress(bundles, wanted) {
  if (bundles.current !== wanted) return { state: "overtaken", reason: bundles.current ?? "none" };
  if (bundles.in_service === wanted) return { state: "in_service", reason: "" };
  if (bundles.refused?.bundle === wanted) return { state: "refused", reason: bundles.refused.reason };
  return { state: "waiting", reason: "" };
}

/** What a bundle is at present, as badges: text and kind. */
export function standing(bundles, id) {
  const refused = bundles.refused?.bundle === id || isRefusedCanary(bundles, id);
  return [
    bundles.in_service === id && ["in service", "good"],
    bundles.current === id && bundles.in_service !== id && ["current, not in service yet", "warn"],
    bundles.previous === id && ["previous", "plain"],
    bundles.canaries[id] === "loaded" && ["canary of an experiment", "info"],
    refused && ["refused", "bad"],
  ].filter(Boolean);
}

/** Why a bundle is not served though it should be; empty where nothing is wrong. */
export function refusal(bundles, id) {
  if (bundles.refused?.bundle === id) return bundles.refused.reason;
  return isRefusedCanary(bundles, id) ? bundles.canaries[id] : "";
}

/** All bundles that are spoken of: the published ones, and others that are current, in service, or refused. */
export function known(bundles) {
  const named = [bundles.current, bundles.in_service, bundles.previous, bundles.refused?.bundle];
  return [...new Set([...bundles.published, ...named, ...Object.keys(bundles.canaries)])].filter(Boolean).sort();
}

function isRefusedCanary(bundles, id) {
  return id in bundles.canaries && bundles.canaries[id] !== "loaded";
}
