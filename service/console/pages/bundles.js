import { emptyState, pageHead } from "../lib/components.js";
import { replace } from "../lib/dom.js";

export const title = "Bundles";

export function render(root) {
  replace(root, pageHead(title, ""), emptyState({ title: "This page is being built" }));
}
