// One question at a time: the newest, once its settings rest for a moment.

import { isAborted } from "../lib/api.js";

const REST_MS = 180;

/**
 * @param {object} options
 * @param {object} options.context the page's.
 * @param {(signal: AbortSignal) => Promise<void>} options.ask asks, and shows the answer.
 * @param {(error: Error, again: () => void) => void} options.failed shows why there is none.
 * @returns {{now: () => Promise<void>, soon: () => void}} a question ends the one before. One that failed because the
 *   service was away is asked again as soon as that is back.
 */
export function asker({ context, ask, failed }) {
  let asking = new AbortController();
  let resting = 0;
  let isWaiting = false;

  async function now() {
    clearTimeout(resting);
    asking.abort();
    asking = new AbortController();
    isWaiting = false;
    try {
      await ask(AbortSignal.any([asking.signal, context.signal]));
    } catch (error) {
      if (isAborted(error)) return;
      isWaiting = error.status === 0 || error.status === 503;
      failed(error, now);
    }
  }

  function soon() {
    clearTimeout(resting);
    resting = setTimeout(now, REST_MS);
  }

  context.onService((service) => {
    if (service !== null && isWaiting) now();
  });
  context.signal.addEventListener("abort", () => clearTimeout(resting));
  return { now, soon };
}
