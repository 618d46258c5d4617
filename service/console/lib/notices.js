// What the state of the service means for the reader. Pure.

const SUBJECTS = [
  ["worker", "warn", "Workers", "Some adapters are not asked: lists come from the others and from the fallbacks."],
  ["pool", "warn", "Worker pool", "Its lists come from the others and from the fallbacks."],
  ["bundle", "warn", "Bundle refused", "What was in service stays."],
  ["experiments", "warn", "Experiments file refused", "The file before stays in force."],
  ["security", "warn", "Keys file refused", "The keys before stay in force."],
];

/**
 * @param {{ready: boolean, reasons: string[], warnings: string[]}|null} service the last answer, null before the first.
 * @param {{code: string, message: string}|null} error why there is no newer one.
 * @returns {{kind: "bad"|"warn", title: string, text: string, more: string[]}[]} the worst first.
 */
export function notices(service, error) {
  if (error) return [ofError(error)];
  return [...service.reasons.map(ofReason), ...ofWarnings(service.warnings)];
}

function ofError({ code, message }) {
  if (code === "unreachable") {
    return bad("Gateway unreachable.", "Nothing here is up to date until it answers again; the console keeps asking.");
  }
  if (code === "forbidden") return bad("Not allowed.", message);
  return bad("The gateway does not say how it is.", message);
}

function ofReason(reason) {
  const [subject, text] = split(reason);
  if (subject === "redis") return bad("Redis is down.", "Everybody gets popular items until it is back.", [text]);
  if (subject === "bundle") return bad("No bundle in service.", "Publish and activate one.", [text]);
  return bad("Not ready.", reason);
}

function ofWarnings(warnings) {
  const known = SUBJECTS.map(([subject, kind, title, text]) => {
    const more = warnings
      .map(split)
      .filter(([each]) => each === subject)
      .map(([, rest]) => rest);
    return more.length ? { kind, title: `${title}.`, text, more } : null;
  });
  const names = new Set(SUBJECTS.map(([subject]) => subject));
  const others = warnings.filter((line) => !names.has(split(line)[0]));
  return [
    ...known.filter(Boolean),
    ...others.map((line) => ({ kind: "warn", title: "Warning.", text: line, more: [] })),
  ];
}

function bad(title, text, more = []) {
  return { kind: "bad", title, text, more };
}

function split(line) {
  const at = line.indexOf(": ");
  return at < 0 ? ["", line] : [line.slice(0, at), line.slice(at + 2)];
}
