// The shell: navigation, state of the service, one module per page.
//
// A page is a module `pages/NAME.js` that exports `title` and `render(root, context)`. It is rendered when one comes to
// it, and anew when its address changes by the back button or a link; what it starts ends with `context.signal`.
//
// context:
//   api            lib/api.js: get(path, signal), post(path, body, signal), text(path, signal); they throw ApiError
//   service        what GET /admin/service said last; null before the first answer and where none came
//   params         URLSearchParams: the state in the address
//   setParams      (params, {replace}) puts state into the address without rendering anew
//   navigate       (page, params) goes to another page
//   announce       (text) says something to screen readers
//   signal         AbortSignal: the page was left
//   onService      (listener) is told each newer state of the service while the page is shown
//   look           () asks for the state of the service now
//   again          () renders the page anew, from its address

import { ApiError, createApi, isAborted } from "./lib/api.js";
import { announce, errorState, loading } from "./lib/components.js";
import { replace } from "./lib/dom.js";
import { formatRoute, parseRoute } from "./lib/route.js";
import { signIn } from "./lib/signin.js";
import { watchService } from "./lib/status.js";

const PAGES = ["try", "compare", "communities", "experiments", "workers", "bundles"];
const page = document.getElementById("page");
const api = createApi({ signIn });
let leave = new AbortController();
let listeners = [];

const watched = watchService(api, {
  state: document.getElementById("service-state"),
  banners: document.getElementById("banners"),
  changed: (service) => listeners.forEach((listener) => listener(service)),
  signOut,
});

function signOut() {
  api.signOut();
  location.reload();
}

async function show({ focus }) {
  leave.abort();
  leave = new AbortController();
  listeners = [];
  const { signal } = leave;
  const route = parseRoute(location.hash, PAGES);
  markCurrent(route.page);
  replace(page, loading());
  try {
    const [module, service] = await Promise.all([import(`./pages/${route.page}.js`), watched.first]);
    if (signal.aborted) return;
    document.title = `${module.title} · LocalRec console`;
    const root = document.createElement("div");
    root.className = `page page-${route.page}`;
    replace(page, root);
    const drawn = module.render(root, context(route, watched.current() ?? service, signal));
    const heading = root.querySelector("h1");
    if (focus) heading?.focus();
    await drawn;
    if (focus && heading === null) root.querySelector("h1")?.focus(); // the page asked something before it drew
  } catch (error) {
    if (signal.aborted || isAborted(error)) return;
    // A module that could not be loaded stays so until the document is loaded anew.
    const retry = error instanceof ApiError ? () => show({ focus: true }) : () => location.reload();
    replace(page, errorState(error, retry));
  }
}

function context(route, service, signal) {
  return {
    api,
    service,
    params: route.params,
    setParams: (params, { replace: instead = false } = {}) => {
      const hash = formatRoute(route.page, params);
      if (signal.aborted || hash === location.hash) return;
      history[instead ? "replaceState" : "pushState"](null, "", hash);
    },
    navigate: (name, params) => {
      location.hash = formatRoute(name, params);
    },
    announce,
    signal,
    onService: (listener) => {
      if (!signal.aborted) listeners.push(listener);
    },
    look: watched.look,
    again: () => {
      if (!signal.aborted)
        show({ focus: false }).then(() => PAGES.forEach((name) => import(`./pages/${name}.js`).catch(() => {})));
    },
  };
}

function markCurrent(name) {
  for (const link of document.querySelectorAll("#navigation a")) {
    if (link.dataset.page === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main").focus();
});
addEventListener("hashchange", () => show({ focus: true }));
show({ focus: false }).then(() => PAGES.forEach((name) => import(`./pages/${name}.js`).catch(() => {})));
