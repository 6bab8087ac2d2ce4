/**
 * Fetches the page again when the record grows: at most every two seconds, never under a hand.
 * A page with `data-own` is told instead (`setpoint:live`) and fetches what it needs. While a
 * page is out of sight it holds no line: a browser has only six of them for a server.
 */

import htmx from "./htmx";

const PAUSE = 2000;

const word = document.querySelector<HTMLElement>(".live");
let waiting = false;
let last = 0;

function say(state: "live" | "paused", text: string): void {
  if (word === null) return;
  word.dataset["state"] = state;
  word.textContent = text;
}

/** Whether a refresh would take something out of the reader's hands. */
function busy(): boolean {
  const focused = document.activeElement;
  const typing = focused instanceof HTMLElement && focused.matches("main :is(input, select, textarea)");
  const begun = [...document.querySelectorAll<HTMLInputElement>("main form[method='post'] :is(input, textarea)")];
  if (begun.some((each) => each.value !== each.defaultValue)) return true;
  const selecting = (document.getSelection()?.toString() ?? "") !== "";
  return document.hidden || typing || selecting || document.querySelector("dialog[open]") !== null;
}

function refresh(): void {
  waiting = false;
  if (busy()) {
    later(PAUSE);
    return;
  }
  last = Date.now();
  if (document.querySelector("main[data-own]") !== null) {
    document.dispatchEvent(new Event("setpoint:live"));
    return;
  }
  void htmx.ajax("get", location.href, { target: "#main", select: "#main", swap: "outerHTML" });
}

function later(after: number): void {
  if (waiting) return;
  waiting = true;
  setTimeout(refresh, after);
}

/** Things a reader opened stay open, and the focus stays where it was. */
let opened: string[] = [];
document.addEventListener("htmx:beforeSwap", () => {
  opened = [...document.querySelectorAll("details[open][id]")].map((each) => each.id);
});
document.addEventListener("htmx:afterSwap", () => {
  for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
});

let source: EventSource | null = null;
let position = document.body.dataset["live"];

/** Follows the record from where it was left, and the run that the page is about. */
function follow(): void {
  if (position === undefined || source !== null) return;
  const run = document.querySelector<HTMLElement>("main[data-run]")?.dataset["run"];
  const about = run === undefined ? "" : `&run=${encodeURIComponent(run)}`;
  source = new EventSource(`/live?after=${position}${about}`);
  source.addEventListener("open", () => say("live", "live"));
  source.addEventListener("error", () => say("paused", "not connected"));
  for (const kind of ["change", "beat"]) {
    source.addEventListener(kind, (event) => {
      if (event instanceof MessageEvent && event.lastEventId) position = event.lastEventId;
      later(Math.max(150, last + PAUSE - Date.now()));
    });
  }
  source.addEventListener("grown", (event) => {
    document.dispatchEvent(new CustomEvent("setpoint:grown", { detail: JSON.parse(String(event.data)) as unknown }));
  });
}

function leave(): void {
  source?.close();
  source = null;
}

document.addEventListener("visibilitychange", () => (document.hidden ? leave() : follow()));
window.addEventListener("pagehide", leave);
window.addEventListener("pageshow", (event) => {
  if (event.persisted) follow();
});
if (!document.hidden) follow();
