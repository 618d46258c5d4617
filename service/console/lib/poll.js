// Things that a page does again and again while it is shown.

/**
 * Do something at once, and again so long after it has ended, until `signal`; not while nobody sees the page.
 * @param {number} milliseconds between an end and the next beginning
 * @param {() => Promise<void>} act handles its own failures
 * @param {AbortSignal} signal
 */
export async function every(milliseconds, act, signal) {
  while (!signal.aborted) {
    if (!document.hidden) await act();
    await pause(milliseconds, signal);
  }
}

/** Wait, or until `signal`. */
export function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const timer = setTimeout(resolve, milliseconds);
    return signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}
