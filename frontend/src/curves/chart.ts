/** `<curve-chart>`: one metric of some runs, read by pointer or keys, zoomed, live, saved. */

import { call, curvesOf, type Curve, type Curves } from "./api";
import { extent, lineOf, nearest, type Line, type Shown } from "./lines";
import { plot, type Plot } from "./plot";
import { duration, moment, place, valueAt, write } from "./scale";
import { draw, exports } from "./svg";
import { change, onChange, view, type View } from "./view";

interface Spec {
  metric: string;
  runs: Shown[];
  height?: number;
  /** A chart in a text says itself how it is shown. */
  view?: Partial<View>;
  /** Where no server is to be asked: what is given is all there is. */
  frozen?: boolean;
}

/** Of a curve: about one for two px, and of a million points summaries are enough. */
const ITEMS = 240;
/** Milliseconds between two looks at a curve that grows. */
const PAUSE = 1000;

export class CurveChart extends HTMLElement {
  private spec: Spec = { metric: "", runs: [] };
  private curves: Curve[] = [];
  private lines: Line[] = [];
  private drawn: Plot | null = null;
  private at: number | null = null; // of x: where values are read
  private width = 0; // px, when it was drawn
  private seen = false;
  private stale = false;
  private asked = 0;
  private overview: Curve[] = []; // the whole curves
  private detail = ""; // what was zoomed into when the curves were fetched; empty: nothing
  private ends = new AbortController();

  connectedCallback(): void {
    this.spec = JSON.parse(this.getAttribute("data-spec") ?? "{}") as Spec;
    const given = this.querySelector<HTMLScriptElement>("script[type='application/json']");
    this.tabIndex = 0;
    this.setAttribute("role", "group");
    this.ends = new AbortController();
    onChange(() => this.viewed(), this.ends.signal);
    document.addEventListener("setpoint:live", () => this.grown(), { signal: this.ends.signal });
    this.listen();
    const sizes = new ResizeObserver(() => {
      if (this.clientWidth !== this.width) this.show();
    });
    sizes.observe(this);
    const sight = new IntersectionObserver((entries) => this.sighted(entries), { rootMargin: "300px" });
    sight.observe(this);
    this.ends.signal.addEventListener("abort", () => {
      sizes.disconnect();
      sight.disconnect();
    });
    if (given?.textContent) {
      this.seen = true; // those that come with their points are the first of a page
      this.take(curvesOf(JSON.parse(given.textContent) as Curves), "");
    } else this.stale = true;
  }

  disconnectedCallback(): void {
    this.ends.abort();
  }

  /** The runs to show from now on. */
  set runs(runs: Shown[]) {
    this.spec = { ...this.spec, runs };
    this.anew();
  }

  set metric(metric: string) {
    this.spec = { ...this.spec, metric };
    this.anew();
  }

  get metric(): string {
    return this.spec.metric;
  }

  private anew(): void {
    this.overview = [];
    this.refresh();
  }

  /** Fetches the curves again, at once if they are in sight, otherwise when they come to be. */
  refresh(): void {
    this.stale = true;
    if (this.seen) void this.load();
  }

  /** The same, not more often than makes sense for curves that grow. */
  grown(): void {
    if (this.stale) return;
    this.stale = true;
    setTimeout(() => {
      if (this.seen && this.isConnected) void this.load();
    }, Math.max(0, this.asked + PAUSE - Date.now()));
  }

  private sighted(entries: IntersectionObserverEntry[]): void {
    this.seen = entries.some((entry) => entry.isIntersecting);
    if (!this.seen) return;
    if (this.stale) void this.load();
    else if (this.drawn === null) this.show();
  }

  private get view(): View {
    return { ...view(), ...this.spec.view };
  }

  private async load(): Promise<void> {
    if (this.spec.frozen) return;
    this.stale = false;
    this.asked = Date.now();
    const { runs, metric } = this.spec;
    const detail = this.thinned ? this.zoomed : "";
    try {
      const answer = await call<Curves>("runs.histories", {
        runs: runs.map((run) => run.id),
        metrics: [metric],
        at_most: ITEMS,
        ...(detail ? this.stretch() : {}),
      });
      this.take(curvesOf(answer), detail);
    } catch (error) {
      this.say(error instanceof Error ? error.message : String(error));
    }
  }

  private take(curves: Curve[], detail: string): void {
    this.curves = curves;
    this.detail = detail;
    if (!detail) this.overview = curves;
    this.prepare();
    this.deepen();
  }

  /** What is zoomed into; empty: nothing. */
  private get zoomed(): string {
    const { x, from, to } = this.view;
    return from === null || to === null ? "" : `${x} ${from} ${to}`;
  }

  /** The steps that are zoomed into, with some around; found in time by the whole curves. */
  private stretch(): { first_step?: number; last_step?: number } {
    const { x, from, to } = this.view;
    if (from === null || to === null) return {};
    const air = (to - from) / 4;
    if (x === "step") return { first_step: Math.floor(from - air), last_step: Math.ceil(to + air) };
    const steps = this.linesOf(this.overview).flatMap((line) =>
      [from - air, to + air].map((each) => line.steps[nearest(line.xs, each)] ?? 0),
    );
    const [first, last] = extent([steps], false);
    return steps.length === 0 ? {} : { first_step: first, last_step: last };
  }

  private viewed(): void {
    this.prepare();
    this.deepen();
  }

  /** Whether there are more points than are here: what is zoomed into has to be fetched. */
  private get thinned(): boolean {
    return this.overview.some((curve) => curve.points > curve.last.length);
  }

  /** Fetches what is zoomed into, where less of it is here than there is. */
  private deepen(): void {
    if (this.thinned && this.zoomed !== this.detail) this.refresh();
  }

  private prepare(): void {
    this.lines = this.linesOf(this.curves);
    this.setAttribute("aria-label", this.summary());
    this.show();
  }

  private linesOf(curves: Curve[]): Line[] {
    const { x, smooth } = this.view;
    const runs = new Map(this.spec.runs.map((run) => [run.id, run]));
    return curves.flatMap((curve) => {
      const run = runs.get(curve.run);
      return run && curve.last.length > 0 ? [lineOf(curve, run, x, smooth)] : [];
    });
  }

  private summary(): string {
    const ends = this.lines.slice(0, 5).map((line) => {
      const value = write(line.ys[line.ys.length - 1] ?? NaN);
      return this.spec.runs.length > 1 ? `${line.run.name} ${value}` : value;
    });
    const what = ends.length ? `last ${ends.join(", ")}` : "no points";
    return `${this.spec.metric}: ${what}; arrow keys read values, plus and minus zoom`;
  }

  private show(): void {
    const width = this.clientWidth;
    if (width < 40 || (!this.seen && this.drawn === null)) return;
    this.width = width;
    const { x, log, logx, from, to } = this.view;
    const shape = { width, height: this.spec.height ?? 200, title: this.spec.metric, axis: x, log, logx, from, to };
    this.drawn = plot(this.lines, shape);
    const parts: Element[] = [this.drawn.svg as Element, this.menu(this.drawn.svg)];
    if (this.lines.length === 0) parts.push(this.note(this.stale || this.asked === 0 ? "" : "no points yet"));
    this.replaceChildren(...parts);
    this.dataset["drawn"] = String(Math.round(performance.now()));
    if (this.at !== null) this.read(this.at);
  }

  private note(text: string): HTMLElement {
    const made = document.createElement("p");
    made.className = "note soft";
    made.textContent = text;
    return made;
  }

  private say(text: string): void {
    this.replaceChildren(this.note(text));
  }

  private menu(svg: SVGSVGElement): HTMLElement {
    const more: Record<string, () => void> = this.view.from === null ? {} : { whole: () => this.zoom(null, null) };
    return exports(svg, this.metric, more);
  }

  private zoom(from: number | null, to: number | null): void {
    if (this.spec.view !== undefined) {
      this.spec = { ...this.spec, view: { ...this.spec.view, from, to } };
      this.viewed();
    } else change({ from: from === null ? "" : String(from), to: to === null ? "" : String(to) });
  }

  /** The x below a pointer, kept within the axis. */
  private under(event: PointerEvent): number | null {
    if (this.drawn === null) return null;
    const { area, x } = this.drawn;
    const left = event.clientX - this.drawn.svg.getBoundingClientRect().left;
    const share = (left - area.left) / (area.right - area.left);
    return valueAt(x, Math.min(1, Math.max(0, share)));
  }

  private listen(): void {
    const { signal } = this.ends;
    let from: number | null = null;
    this.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || event.pointerType === "touch" || !(event.target instanceof SVGElement)) return;
      from = this.under(event);
      this.setPointerCapture(event.pointerId);
    }, { signal });
    this.addEventListener("pointermove", (event) => {
      const x = this.under(event);
      if (x === null) return;
      this.read(x);
      if (from !== null) this.shade(from, x);
    }, { signal });
    this.addEventListener("pointerup", (event) => {
      const to = this.under(event);
      if (from !== null && to !== null && this.drawn !== null) {
        const moved = Math.abs(place(this.drawn.x, to) - place(this.drawn.x, from));
        if (moved > 0.02) this.zoom(Math.min(from, to), Math.max(from, to));
      }
      from = null;
    }, { signal });
    this.addEventListener("dblclick", () => this.zoom(null, null), { signal });
    this.addEventListener("pointerleave", () => this.forget(), { signal });
    this.addEventListener("focusout", () => this.forget(), { signal });
    this.addEventListener("keydown", (event) => this.pressed(event), { signal });
  }

  private pressed(event: KeyboardEvent): void {
    if (this.drawn === null || event.target !== this) return;
    const { x } = this.drawn;
    const centre = this.at ?? valueAt(x, 0.5);
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") this.walk(event.key === "ArrowLeft" ? -1 : 1);
    else if (event.key === "+" || event.key === "=") this.near(centre, 0.5);
    else if (event.key === "-") this.near(centre, 2);
    else if (event.key === "0" || event.key === "Escape") this.zoom(null, null);
    else return;
    event.preventDefault();
  }

  private near(centre: number, by: number): void {
    if (this.drawn === null) return;
    const half = ((this.drawn.x.high - this.drawn.x.low) / 2) * by;
    const [first, last] = extent(this.lines.map((line) => line.xs), false);
    const [from, to] = [centre - half, centre + half];
    if (by > 1 && this.detail === "" && from <= first && to >= last) this.zoom(null, null);
    else this.zoom(by < 1 ? Math.max(from, first) : from, by < 1 ? Math.min(to, last) : to);
  }

  private walk(by: number): void {
    const xs = [...new Set(this.lines.flatMap((line) => [...line.xs]))].sort((a, b) => a - b);
    if (xs.length === 0) return;
    const at = this.at === null ? xs.length - 1 : nearest(xs, this.at) + by;
    this.read(xs[Math.min(Math.max(at, 0), xs.length - 1)] ?? 0);
  }

  private forget(): void {
    this.at = null;
    for (const each of this.querySelectorAll(".readout, .hair-line, .shade")) each.remove();
  }

  private shade(from: number, to: number): void {
    if (this.drawn === null) return;
    const { svg, area, x } = this.drawn;
    const [left, right] = [from, to].map((each) => area.left + place(x, each) * (area.right - area.left));
    if (left === undefined || right === undefined) return;
    svg.querySelector(".shade")?.remove();
    const [start, width] = [Math.min(left, right), Math.abs(right - left)];
    svg.append(draw("rect", { x: start, y: area.top, width, height: area.bottom - area.top, class: "shade" }));
  }

  /** Reads all lines at the point nearest to `x`. */
  private read(x: number): void {
    if (this.drawn === null || this.lines.length === 0) return;
    const { svg, area, x: scale, kind } = this.drawn;
    const reach = (scale.high - scale.low) / 40;
    const points = this.lines.map((line) => ({ line, i: nearest(line.xs, x) }));
    const apart = ({ line, i }: { line: Line; i: number }): number => Math.abs((line.xs[i] ?? Infinity) - x);
    points.sort((a, b) => apart(a) - apart(b));
    const first = points[0];
    if (first === undefined) return;
    const at = first.line.xs[first.i] ?? x;
    this.forget();
    this.at = at;
    const left = area.left + place(scale, at) * (area.right - area.left);
    svg.append(draw("line", { x1: left, x2: left, y1: area.top, y2: area.bottom, class: "hair-line" }));
    const near = points.filter((each) => apart(each) <= reach || each === first);
    near.sort((a, b) => (b.line.ys[b.i] ?? 0) - (a.line.ys[a.i] ?? 0));
    const title = kind === "time" ? moment(at) : kind === "duration" ? duration(at) : `step ${write(at)}`;
    this.append(this.box(title, near, left));
  }

  private box(title: string, points: { line: Line; i: number }[], left: number): HTMLElement {
    const made = document.createElement("div");
    made.className = "readout";
    made.setAttribute("role", "status");
    const head = document.createElement("b");
    head.textContent = title;
    made.append(head);
    for (const { line, i } of points.slice(0, 12)) made.append(reading(line, i));
    if (points.length > 12) made.append(`and ${points.length - 12} more`);
    made.style.top = "24px";
    if (left > this.clientWidth / 2) made.style.right = `${this.clientWidth - left + 12}px`;
    else made.style.left = `${left + 12}px`;
    return made;
  }
}

function reading(line: Line, i: number): HTMLElement {
  const row = document.createElement("span");
  const name = document.createElement("i");
  name.textContent = line.run.name;
  name.className = line.run.color;
  const value = write(line.ys[i] ?? NaN);
  const range = line.thinned ? ` (${write(line.low[i] ?? NaN)} – ${write(line.high[i] ?? NaN)})` : "";
  row.append(name, value + range);
  return row;
}

customElements.define("curve-chart", CurveChart);
