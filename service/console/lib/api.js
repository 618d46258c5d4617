// The operators' API. Every failure is an ApiError.

const KEY = "localrec.key";

/** What went wrong: `status` 0 where no answer came at all, `field` where one is at fault. */
export class ApiError extends Error {
  constructor(status, code, message, field = null, requestId = null) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.field = field;
    this.requestId = requestId;
  }
}

/**
 * A client.
 *
 * @param {{signIn: (error: ApiError|null) => Promise<string>, fetch?: typeof fetch, storage?: Storage}} options
 *   `signIn` asks for a key where the API wants one, and is told why the last one was refused.
 */
export function createApi({ signIn, fetch: send = globalThis.fetch.bind(globalThis), storage = sessionStorage }) {
  let asking = null;

  async function call(method, path, { body, signal, text = false } = {}) {
    const key = storage.getItem(KEY);
    const response = await sent(send, path, options(method, key, body, signal));
    if (response.status === 401) {
      await askFor(key, await errorOf(response));
      return call(method, path, { body, signal, text });
    }
    if (!response.ok) throw await errorOf(response);
    return text ? response.text() : response.json();
  }

  /** All requests that were refused wait for one dialog. A key that was exchanged meanwhile is tried first. */
  async function askFor(refusedKey, error) {
    if (storage.getItem(KEY) !== refusedKey) return;
    asking ??= signIn(refusedKey === null ? null : error).finally(() => {
      asking = null;
    });
    storage.setItem(KEY, await asking);
  }

  return {
    get: (path, signal) => call("GET", path, { signal }),
    post: (path, body, signal) => call("POST", path, { body, signal }),
    text: (path, signal) => call("GET", path, { signal, text: true }),
    signedIn: () => storage.getItem(KEY) !== null,
    signOut: () => storage.removeItem(KEY),
  };
}

/** A path with a query; what is null or undefined is left out. */
export function withQuery(path, params) {
  const entries = Object.entries(params).filter(([, value]) => value !== null && value !== undefined);
  return `${path}?${new URLSearchParams(entries)}`;
}

/** Whether a request was given up by the page itself, which is no failure. */
export function isAborted(error) {
  return error?.name === "AbortError";
}

function options(method, key, body, signal) {
  const headers = { Accept: "application/json" };
  if (key !== null) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  return { method, headers, signal, cache: "no-store", body: body === undefined ? undefined : JSON.stringify(body) };
}

async function sent(send, path, init) {
  try {
    return await send(path, init);
  } catch (error) {
    if (isAborted(error)) throw error;
    throw new ApiError(0, "unreachable", "The gateway did not answer");
  }
}

async function errorOf(response) {
  try {
    const { error, request_id: requestId } = await response.json();
    return new ApiError(response.status, error.code, error.message, error.field ?? null, requestId ?? null);
  } catch {
    return new ApiError(response.status, "bad_answer", `The gateway answered ${response.status} without a reason`);
  }
}
