// Elements are built, never written as HTML: data cannot become markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An HTML element.
 *
 * @param {string} tag
 * @param {Record<string, unknown>} properties `class`; `on`: listeners by event; `data`: data-* attributes; `vars`: CSS
 *   custom properties by name; everything else is an attribute. true is an empty attribute; false, null and undefined
 *   leave it out.
 * @param {...(Node|string|number|null|undefined|false|Array)} children what is null, undefined or false is left out.
 */
export function el(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** An SVG element, likewise. */
export function svg(tag, properties = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), properties, children);
}

/** Replace what a node holds. */
export function replace(node, ...children) {
  node.replaceChildren(...nodes(children));
  return node;
}

function filled(node, { on = {}, data = {}, vars = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) setAttribute(node, name, value);
  for (const [event, listener] of Object.entries(on)) node.addEventListener(event, listener);
  for (const [name, value] of Object.entries(data)) node.dataset[name] = value;
  for (const [name, value] of Object.entries(vars)) node.style.setProperty(name, String(value));
  node.append(...nodes(children));
  return node;
}

function setAttribute(node, name, value) {
  if (value === true) node.setAttribute(name, "");
  else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, String(value));
}

function nodes(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map(asNode);
}

function asNode(child) {
  return child instanceof Node ? child : document.createTextNode(String(child));
}
