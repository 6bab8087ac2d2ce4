/** `<parallel-plot>`: runs as lines across axes; a stretch brushed on an axis picks among them. */

import { valueAt } from "../curves/scale";
import { draw, exports } from "../curves/svg";
import { rewrite } from "../curves/view";
import { plotted, readout, said, short, wayOf, type Plotted, type Way } from "./plotted";

const HEIGHT = 320;
const TOP = 40;
const BOTTOM = 16;
const REACH = HEIGHT - TOP - BOTTOM;
/** Missing values have a place of their own below the axis. */
const MISSING = HEIGHT - 4;
const STEP = 0.05;

type Stretch = [number, number]; // places on an axis, 0 to 1

class ParallelPlot extends HTMLElement {
  private data: Plotted = { runs: [], columns: {} };
  private ways: Way[] = [];
  private brushes = new Map<string, Stretch>();
  private svg: SVGSVGElement | null = null;
  private focusOn = "";

  connectedCallback(): void {
    this.data = plotted();
    const axes = JSON.parse(this.dataset["axes"] ?? "[]") as string[];
    this.ways = axes.filter((name) => name in this.data.columns).map((name) => wayOf(name, this.data.columns[name] ?? []));
    const kept = new URLSearchParams(location.search).get("b");
    if (kept !== null) this.brushes = new Map(JSON.parse(kept) as [string, Stretch][]);
    new ResizeObserver(() => this.show()).observe(this);
  }

  private x(i: number): number {
    const width = this.clientWidth;
    return this.ways.length < 2 ? width / 2 : 60 + (i * (width - 120)) / (this.ways.length - 1);
  }

  private y(at: number | null): number {
    return at === null ? MISSING : TOP + (1 - at) * REACH;
  }

  private picked(run: number): boolean {
    for (const [name, [low, high]] of this.brushes) {
      const way = this.ways.find((each) => each.name === name);
      const at = way?.at(this.data.columns[name]?.[run] ?? null) ?? null;
      if (way !== undefined && (at === null || at < low || at > high)) return false;
    }
    return true;
  }

  private show(): void {
    const width = this.clientWidth;
    if (width < 40 || this.ways.length === 0) return;
    const svg = draw("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, class: "sp-chart" }) as SVGSVGElement;
    const picked = this.data.runs.map((_, run) => this.picked(run));
    const order = [...this.data.runs.keys()].sort((a, b) => Number(picked[a]) - Number(picked[b]));
    for (const run of order) svg.append(this.line(run, picked[run] ?? true));
    this.ways.forEach((way, i) => svg.append(this.axis(way, i)));
    this.svg = svg;
    this.replaceChildren(svg, exports(svg, "parallel coordinates"), this.told(picked));
    if (this.focusOn) this.querySelector<SVGElement>(`[data-axis="${CSS.escape(this.focusOn)}"]`)?.focus();
  }

  private line(run: number, picked: boolean): SVGElement {
    const points = this.ways.map((way, i) => `${this.x(i)} ${this.y(way.at(this.data.columns[way.name]?.[run] ?? null)).toFixed(1)}`);
    const shown = this.data.runs[run];
    const made = draw("path", { d: `M${points.join("L")}`, class: `line ${shown?.color ?? ""}${picked ? "" : " unpicked"}` });
    made.addEventListener("pointerenter", (event) => this.name(run, event));
    made.addEventListener("pointerleave", () => this.querySelector(".readout")?.remove());
    made.addEventListener("click", () => location.assign(`/runs/${shown?.id ?? ""}`));
    return made;
  }

  private name(run: number, event: PointerEvent): void {
    this.querySelector(".readout")?.remove();
    const rows = this.ways.map((way): [string, string] => [short(way.name), said(this.data.columns[way.name]?.[run])]);
    const left = event.clientX - this.getBoundingClientRect().left;
    this.append(readout(this.data.runs[run]?.name ?? "", rows, left, TOP, this.clientWidth));
  }

  private axis(way: Way, i: number): SVGElement {
    const x = this.x(i);
    const group = draw("g", { tabindex: 0, role: "group", "data-axis": way.name, "aria-label": this.describe(way) });
    const label = draw("text", { x, y: 14, "text-anchor": "middle", class: "strong" }, short(way.name).slice(0, 22));
    label.append(draw("title", {}, way.name));
    group.append(label, draw("line", { x1: x, x2: x, y1: TOP, y2: TOP + REACH, class: "axis" }));
    for (const mark of way.marks) {
      group.append(draw("text", { x: x + 6, y: this.y(mark.at) + 4, class: "mark" }, mark.text));
    }
    const brush = this.brushes.get(way.name);
    if (brush !== undefined) {
      const [low, high] = brush;
      group.append(draw("rect", { x: x - 8, y: this.y(high), width: 16, height: (high - low) * REACH, class: "brush" }));
    }
    const hit = draw("rect", { x: x - 12, y: TOP - 8, width: 24, height: REACH + 16, class: "hit" });
    hit.addEventListener("pointerdown", (event) => this.drag(way, event));
    hit.addEventListener("dblclick", () => this.brush(way.name, null));
    group.append(hit);
    group.addEventListener("keydown", (event) => this.pressed(way, event));
    return group;
  }

  private describe(way: Way): string {
    const brush = this.brushes.get(way.name);
    const stretch = brush === undefined ? "not brushed" : brush.map((at) => this.value(way, at)).join(" to ");
    return `${way.name}: ${stretch}. Enter brushes, arrows move it, plus and minus change its size, Escape clears`;
  }

  private value(way: Way, at: number): string {
    const value = valueAt(way.scale, at);
    return way.names === null ? said(value) : (way.names[Math.round(value)] ?? "");
  }

  private drag(way: Way, event: PointerEvent): void {
    if (this.svg === null) return;
    const top = this.svg.getBoundingClientRect().top;
    const place = (y: number): number => Math.min(1, Math.max(0, 1 - (y - top - TOP) / REACH));
    const from = place(event.clientY);
    const ends = new AbortController();
    const stretch = (to: number): Stretch => [Math.min(from, to), Math.max(from, to)];
    window.addEventListener("pointermove", (moved) => this.brush(way.name, stretch(place(moved.clientY)), false), { signal: ends.signal });
    window.addEventListener("pointerup", (up) => {
      ends.abort();
      const found = stretch(place(up.clientY));
      this.brush(way.name, found[1] - found[0] < 0.01 ? null : found);
    }, { signal: ends.signal });
    event.preventDefault();
  }

  private pressed(way: Way, event: KeyboardEvent): void {
    const [low, high] = this.brushes.get(way.name) ?? [0.25, 0.75];
    const by = { ArrowUp: [STEP, STEP], ArrowDown: [-STEP, -STEP], "+": [-STEP, STEP], "-": [STEP, -STEP], Enter: [0, 0] }[event.key];
    this.focusOn = way.name;
    if (event.key === "Escape") this.brush(way.name, null);
    else if (by !== undefined) {
      const [a, b] = [low + (by[0] ?? 0), high + (by[1] ?? 0)];
      if (a >= -STEP && b <= 1 + STEP && b - a >= STEP) this.brush(way.name, [Math.max(0, a), Math.min(1, b)]);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  private brush(name: string, stretch: Stretch | null, done = true): void {
    if (stretch === null) this.brushes.delete(name);
    else this.brushes.set(name, stretch);
    const kept = [...this.brushes].map(([axis, [low, high]]) => [axis, [Number(low.toFixed(3)), Number(high.toFixed(3))]]);
    if (done) rewrite({ b: kept.length ? JSON.stringify(kept) : "" });
    this.show();
  }

  private told(picked: boolean[]): HTMLElement {
    const made = document.createElement("p");
    made.className = "told soft";
    made.setAttribute("role", "status");
    const chosen = this.data.runs.filter((_, i) => picked[i]);
    if (this.brushes.size === 0) {
      made.textContent = "Drag along an axis to pick runs by what they have there.";
      return made;
    }
    made.append(`${chosen.length} of ${picked.length} runs`);
    if (chosen.length > 1 && chosen.length < picked.length) {
      const link = document.createElement("a");
      link.href = `/compare?${new URLSearchParams(chosen.map((run) => ["run", run.id])).toString()}`;
      link.textContent = "compare only these";
      made.append(": ", link);
    } else if (chosen.length === 1) made.append(`: ${chosen[0]?.name ?? ""}`);
    return made;
  }
}

customElements.define("parallel-plot", ParallelPlot);
