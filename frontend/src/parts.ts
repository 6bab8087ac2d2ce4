/** Pages that keep what a reader set up: only their parts that changed are replaced, in place. */

import type { CurveChart } from "./curves/chart";

const PAUSE = 2000;
let last = 0;
let waiting = false;

function held(part: Element): boolean {
  const selection = document.getSelection();
  const selecting = selection !== null && selection.toString() !== "" && part.contains(selection.anchorNode);
  return selecting || part.contains(document.activeElement);
}

async function refresh(): Promise<void> {
  waiting = false;
  last = Date.now();
  const query = new URLSearchParams(location.search);
  query.set("part", "1");
  const answer = await fetch(`${location.pathname}?${query.toString()}`);
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const fresh of page.querySelectorAll("[data-part]")) {
    const old = document.getElementById(fresh.id);
    if (old === null || old.innerHTML === fresh.innerHTML || held(old)) continue;
    const box = old.querySelector("pre");
    const end = box !== null && box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    const opened = [...old.querySelectorAll("details[open][id]")].map((each) => each.id);
    old.replaceChildren(...fresh.childNodes);
    for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
    if (end) toEnd(old);
  }
  for (const list of page.querySelectorAll<HTMLElement>("[data-curves-of]")) added(list);
}

/** Curves of metrics that were not there before. */
function added(list: HTMLElement): void {
  const here = document.querySelector(`[data-curves-of="${list.dataset["curvesOf"] ?? ""}"]`);
  if (here === null) {
    if (!document.hidden) location.reload();
    return;
  }
  const known = new Set([...here.querySelectorAll<HTMLElement>("[data-metric]")].map((each) => each.dataset["metric"]));
  for (const item of list.querySelectorAll<HTMLElement>("[data-metric]")) {
    if (!known.has(item.dataset["metric"])) here.append(document.importNode(item, true));
  }
}

function soon(): void {
  if (waiting || document.querySelector("[data-part]") === null) return;
  waiting = true;
  setTimeout(() => void refresh(), Math.max(0, last + PAUSE - Date.now()));
}

/** A log is read from its end. */
function toEnd(part: Element): void {
  if (!part.hasAttribute("data-end")) return;
  for (const box of part.querySelectorAll("pre")) box.scrollTop = box.scrollHeight;
}

document.addEventListener("setpoint:live", soon);
document.addEventListener("setpoint:grown", (event) => {
  const { metrics } = (event as CustomEvent<{ metrics: string[] }>).detail;
  const grown = new Set(metrics);
  for (const chart of document.querySelectorAll<CurveChart>("curve-chart")) {
    if (metrics.length === 0 || grown.has(chart.metric)) chart.grown();
  }
  soon();
});
document.querySelectorAll("[data-end]").forEach(toEnd);
