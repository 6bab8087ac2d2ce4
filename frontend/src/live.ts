/** Fetches the page again when the record grows: at most every two seconds, never under a hand. */

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

if (document.body.dataset["live"] !== undefined) {
  const source = new EventSource(`/live?after=${document.body.dataset["live"]}`);
  source.addEventListener("open", () => say("live", "live"));
  source.addEventListener("error", () => say("paused", "not connected"));
  for (const kind of ["change", "beat"]) {
    source.addEventListener(kind, () => later(Math.max(150, last + PAUSE - Date.now())));
  }
  window.addEventListener("pagehide", () => source.close());
}
