/** How all curves of a page are shown; kept in the page's URL, so that it restores them. */

import type { Axis } from "./lines";

export interface View {
  x: Axis;
  smooth: number; // weight of what came before, 0 to 0.99
  log: boolean;
  logx: boolean;
  from: number | null; // of x: what is zoomed into
  to: number | null;
}

const CHANGED = "curves:view";

function number(text: string | null): number | null {
  const found = text === null || text === "" ? NaN : Number(text);
  return Number.isFinite(found) ? found : null;
}

export function view(): View {
  const query = new URLSearchParams(location.search);
  const x = query.get("x");
  return {
    x: x === "time" || x === "relative" ? x : "step",
    smooth: Math.min(0.99, Math.max(0, number(query.get("smooth")) ?? 0)),
    log: query.has("log"),
    logx: query.has("logx"),
    from: number(query.get("from")),
    to: number(query.get("to")),
  };
}

/** Changes parts of the page's URL without loading it; an empty value removes a part. */
export function rewrite(parts: Record<string, string>): void {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(parts)) {
    if (value === "") query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  history.replaceState(history.state, "", text ? `?${text}` : location.pathname);
}

export function change(parts: Record<string, string>): void {
  rewrite(parts);
  document.dispatchEvent(new Event(CHANGED));
}

export function onChange(act: () => void, signal: AbortSignal): void {
  document.addEventListener(CHANGED, act, { signal });
}

/** The form that sets it: works by a script as one types, and without one by its button. */
function follow(form: HTMLFormElement): void {
  const read = (): void => {
    const data = new FormData(form);
    const text = (name: string): string => {
      const value = data.get(name);
      return typeof value === "string" ? value : "";
    };
    const x = text("x");
    const moved = x !== (new URLSearchParams(location.search).get("x") ?? "step");
    change({
      x: x === "step" ? "" : x,
      smooth: Number(text("smooth")) > 0 ? text("smooth") : "",
      log: text("log"),
      logx: text("logx"),
      ...(moved ? { from: "", to: "" } : {}),
    });
    form.querySelector("output")?.replaceChildren(text("smooth"));
  };
  form.addEventListener("input", read);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    read();
  });
}

export function start(): void {
  document.querySelectorAll<HTMLFormElement>("form[data-curves]:not([data-ready])").forEach((form) => {
    form.dataset["ready"] = "";
    follow(form);
  });
}
