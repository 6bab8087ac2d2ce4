/** Lines on two axes, as SVG. */

import { extent, nearest, type Axis, type Line } from "./lines";
import { named, place, scaleOf, ticks, type Kind, type Scale } from "./scale";
import { draw } from "./svg";

export interface Area {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

export interface Plot {
  svg: SVGSVGElement;
  area: Area;
  x: Scale;
  y: Scale;
  kind: Kind;
}

export interface Shape {
  width: number;
  height: number;
  title: string;
  axis: Axis;
  log: boolean;
  logx: boolean;
  from: number | null;
  to: number | null;
}

const DASHES = ["", "6 3", "2 3"];

export function plot(lines: Line[], shape: Shape): Plot {
  const kind: Kind = shape.axis === "step" ? "number" : shape.axis === "time" ? "time" : "duration";
  const logx = shape.logx && shape.axis !== "time";
  const [first, last] = extent(lines.map((line) => line.xs), logx);
  const x = scaleOf(shape.from ?? first, shape.to ?? last, logx);
  const [low, high] = extent(lines.flatMap((line) => within(line, x)), shape.log);
  const y = scaleOf(low, high, shape.log, 0.04);
  const wide = widest(y, shape.height);
  const area = { left: wide, right: shape.width - 8, top: 26, bottom: shape.height - 20 };
  const svg = draw("svg", {
    viewBox: `0 0 ${shape.width} ${shape.height}`,
    width: shape.width,
    height: shape.height,
    class: "sp-chart",
    "aria-hidden": "true",
  }) as SVGSVGElement;
  const made = { svg, area, x, y, kind };
  axes(made, shape);
  const clip = `clip-${crypto.randomUUID()}`;
  const box = draw("clipPath", { id: clip });
  box.append(rectangle(area));
  const inside = draw("g", { "clip-path": `url(#${clip})` });
  lines.forEach((line, i) => inside.append(...picture(line, made, DASHES[(i >> 3) % 3] ?? "")));
  svg.append(box, inside);
  return made;
}

function rectangle(area: Area): SVGElement {
  const [width, height] = [Math.max(0, area.right - area.left), area.bottom - area.top];
  return draw("rect", { x: area.left, y: area.top - 4, width, height: height + 8 });
}

function widest(y: Scale, height: number): number {
  const longest = ticks(y, height / 48).map((each) => named(each, "number", 0).length);
  return Math.max(28, 10 + 6.2 * Math.max(0, ...longest));
}

/** The values of a line that are seen, with one item beside them on either side. */
function within(line: Line, x: Scale): Float64Array[] {
  const start = Math.max(0, nearest(line.xs, x.low) - 1);
  const end = nearest(line.xs, x.high) + 2;
  const columns = line.thinned ? [line.low, line.high] : [line.raw ?? line.ys];
  return columns.map((values) => values.subarray(start, end));
}

function axes({ svg, area, x, y, kind }: Plot, shape: Shape): void {
  for (const value of ticks(y, shape.height / 48)) {
    const at = px(area, y, value);
    svg.append(
      draw("line", { x1: area.left, x2: area.right, y1: at, y2: at, class: "grid" }),
      draw("text", { x: area.left - 6, y: at + 4, "text-anchor": "end" }, named(value, "number", 0)),
    );
  }
  const across = area.right - area.left;
  for (const value of ticks(x, Math.max(2, across / 90), kind)) {
    const at = area.left + place(x, value) * across;
    const end = at > area.right - 16 ? "end" : at < area.left + 12 ? "start" : "middle";
    const text = named(value, kind, x.high - x.low);
    svg.append(draw("text", { x: at, y: area.bottom + 15, "text-anchor": end }, text));
  }
  svg.append(
    draw("line", { x1: area.left, x2: area.right, y1: area.bottom, y2: area.bottom, class: "axis" }),
    draw("text", { x: 0, y: 12, class: "strong" }, shape.title),
  );
}

function px(area: Area, y: Scale, value: number): number {
  return area.bottom - place(y, value) * (area.bottom - area.top);
}

function picture(line: Line, made: Plot, dash: string): SVGElement[] {
  const found: SVGElement[] = [];
  const { color } = line.run;
  if (line.thinned) found.push(draw("path", { d: band(line, made), class: `band ${color}` }));
  if (line.raw !== null) {
    found.push(draw("path", { d: path(line.xs, line.raw, made), class: `line faint ${color}` }));
  }
  const drawn = draw("path", { d: path(line.xs, line.ys, made), class: `line ${color}` });
  if (dash) drawn.setAttribute("stroke-dasharray", dash);
  return [...found, drawn, ...alone(line, made), ...strange(line, made)];
}

function path(xs: Float64Array, ys: Float64Array, { area, x, y }: Plot): string {
  const parts: string[] = [];
  let pen = "M";
  for (let i = 0; i < xs.length; i++) {
    const [across, value] = [xs[i] ?? NaN, ys[i] ?? NaN];
    if (!Number.isFinite(value) || (y.log && value <= 0) || (x.log && across <= 0)) {
      pen = "M";
      continue;
    }
    const left = area.left + place(x, across) * (area.right - area.left);
    parts.push(`${pen}${left.toFixed(1)} ${px(area, y, value).toFixed(1)}`);
    pen = "L";
  }
  return parts.join("");
}

/** Between least and greatest; a stretch without a number interrupts it. */
function band(line: Line, made: Plot): string {
  const parts: string[] = [];
  let begin = 0;
  const clipped = made.y.log ? line.low.map((v, i) => (v > 0 ? v : (line.high[i] ?? 0) > 0 ? made.y.low : v)) : line.low;
  const good = (i: number): boolean => Number.isFinite(clipped[i]) && Number.isFinite(line.high[i]);
  for (let i = 0; i <= line.xs.length; i++) {
    if (i < line.xs.length && good(i)) continue;
    if (i - begin > 1) {
      const xs = line.xs.subarray(begin, i);
      const up = path(xs, line.high.subarray(begin, i), made);
      const down = path(xs.slice().reverse(), clipped.slice(begin, i).reverse(), made);
      parts.push(`${up}${down.replace("M", "L")}Z`);
    }
    begin = i + 1;
  }
  return parts.join("");
}

/** A dot where a line has one value only. */
function alone(line: Line, { area, x, y }: Plot): SVGElement[] {
  if (line.xs.length !== 1 || !Number.isFinite(line.ys[0])) return [];
  const left = area.left + place(x, line.xs[0] ?? 0) * (area.right - area.left);
  const top = px(area, y, line.ys[0] ?? 0);
  return [draw("circle", { cx: left, cy: top, r: 4, class: `dot ${line.run.color}` })];
}

/** Marks for what is no number: infinities at their edge, NaN as a cross on the axis. */
function strange(line: Line, { area, x }: Plot): SVGElement[] {
  const found: SVGElement[] = [];
  let before = -Infinity;
  for (let i = 0; i < line.xs.length; i++) {
    const value = line.ys[i] ?? 0;
    if (Number.isFinite(value)) continue;
    const left = area.left + place(x, line.xs[i] ?? 0) * (area.right - area.left);
    if (left - before < 6) continue;
    before = left;
    found.push(mark(value, left, area, line.run.color));
  }
  return found;
}

function mark(value: number, left: number, area: Area, color: string): SVGElement {
  if (Number.isNaN(value)) {
    const at = area.bottom - 5;
    const d = `M${left - 3} ${at - 3}l6 6m0-6l-6 6`;
    return draw("path", { d, class: `line ${color}` });
  }
  const [at, by] = value > 0 ? [area.top, 6] : [area.bottom, -6];
  return draw("path", { d: `M${left - 4} ${at + by}h8l-4 ${-by}z`, class: `fill ${color}` });
}
