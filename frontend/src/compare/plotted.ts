/** What the plots of a comparison share: the runs, and what they have by each name. */

import type { Shown } from "../curves/lines";
import { extent } from "../curves/lines";
import { place, scaleOf, ticks, write, type Scale } from "../curves/scale";

export type Value = number | string | null;

export interface Plotted {
  runs: Shown[];
  columns: Record<string, Value[]>;
}

/** A way along an axis: numbers by size, on a log scale where they span decades; else by name. */
export interface Way {
  name: string;
  scale: Scale;
  names: string[] | null; // of a way that is not of numbers
  at: (value: Value) => number | null; // 0 to 1
  marks: { at: number; text: string }[];
}

export function plotted(): Plotted {
  const text = document.querySelector("#plotted")?.textContent;
  return text ? (JSON.parse(text) as Plotted) : { runs: [], columns: {} };
}

export function wayOf(name: string, values: Value[]): Way {
  const known = values.filter((value): value is number | string => value !== null);
  return known.every((value) => typeof value === "number") ? numbers(name, known) : words(name, known);
}

function numbers(name: string, values: number[]): Way {
  const [low, high] = extent([values], false);
  const log = low > 0 && high / low >= 100 && name.startsWith("params.");
  const scale = scaleOf(low, high, log, 0.03);
  return {
    name,
    scale,
    names: null,
    at: (value) => (typeof value === "number" ? place(scale, value) : null),
    marks: ticks(scale, 5).map((value) => ({ at: place(scale, value), text: write(value) })),
  };
}

function words(name: string, values: (number | string)[]): Way {
  const names = [...new Set(values.map(String))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const scale = scaleOf(-0.5, names.length - 0.5, false);
  const at = (value: Value): number | null => (value === null ? null : place(scale, names.indexOf(String(value))));
  const every = Math.ceil(names.length / 12);
  const marks = names.flatMap((text, i) => (i % every === 0 ? [{ at: place(scale, i), text: text.slice(0, 16) }] : []));
  return { name, scale, names, at, marks };
}

/** A name without what it is a name of. */
export function short(name: string): string {
  return name.slice(name.indexOf(".") + 1);
}

export function readout(title: string, rows: [string, string][], left: number, top: number, width: number): HTMLElement {
  const made = document.createElement("div");
  made.className = "readout";
  made.setAttribute("role", "status");
  const head = document.createElement("b");
  head.textContent = title;
  made.append(head);
  for (const [label, text] of rows) {
    const row = document.createElement("span");
    const name = document.createElement("i");
    name.textContent = label;
    row.append(name, text);
    made.append(row);
  }
  made.style.top = `${top}px`;
  if (left > width / 2) made.style.right = `${width - left + 12}px`;
  else made.style.left = `${left + 12}px`;
  return made;
}

export function said(value: Value | undefined): string {
  return value === null || value === undefined ? "–" : typeof value === "number" ? write(value) : value;
}
