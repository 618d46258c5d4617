import { emptyState, pageHead } from "../lib/components.js";
import { replace } from "../lib/dom.js";

export const title = "Experiments";

export function render(root) {
  replace(root, pageHead(title, ""), emptyState({ title: "This page is being built" }));
}
