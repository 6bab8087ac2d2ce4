/** Reading values off a chart, by pointer or by arrow keys, and saving it as a picture. */

interface Line {
  label: string;
  color: string;
  xs: number[];
  ys: (number | null)[];
  percent: boolean;
}

interface Reading {
  text: string;
  color: string;
  label: string;
}

const SVG = "http://www.w3.org/2000/svg";

function figureOf(svg: SVGSVGElement): HTMLElement | null {
  return svg.closest<HTMLElement>(".chart");
}

function linesOf(figure: HTMLElement): Line[] {
  const data = figure.querySelector<HTMLScriptElement>("script[type='application/json']");
  return data?.textContent ? (JSON.parse(data.textContent) as Line[]) : [];
}

function number(svg: SVGSVGElement, name: string): number {
  return Number(svg.dataset[name]);
}

/** The index of the value nearest to `x`; xs ascend. */
function nearest(xs: number[], x: number): number {
  let low = 0;
  let high = xs.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((xs[middle] ?? 0) < x) low = middle;
    else high = middle;
  }
  return Math.abs((xs[low] ?? 0) - x) <= Math.abs((xs[high] ?? 0) - x) ? low : high;
}

function write(value: number, percent: boolean): string {
  if (percent) return `${(value * 100).toPrecision(3)} %`;
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(4)));
}

function moment(x: number, span: number): string {
  const iso = new Date(x * 1000).toISOString();
  return span > 20 * 86400 ? iso.slice(0, 10) : `${iso.slice(0, 16).replace("T", " ")} UTC`;
}

function readings(lines: Line[], x: number, reach: number): Reading[] {
  const found: Reading[] = [];
  for (const line of lines) {
    const at = nearest(line.xs, x);
    const value = line.ys[at];
    if (value === null || value === undefined || Math.abs((line.xs[at] ?? Infinity) - x) > reach) continue;
    found.push({ text: write(value, line.percent), color: line.color, label: line.label });
  }
  return found;
}

function snap(lines: Line[], x: number): number {
  let best = x;
  let least = Infinity;
  for (const line of lines) {
    const place = line.xs[nearest(line.xs, x)];
    if (place !== undefined && Math.abs(place - x) < least) {
      least = Math.abs(place - x);
      best = place;
    }
  }
  return best;
}

function clear(figure: HTMLElement): void {
  for (const each of figure.querySelectorAll(".readout, .hair-line")) each.remove();
  delete figure.dataset["at"];
}

function show(svg: SVGSVGElement, figure: HTMLElement, x: number): void {
  clear(figure);
  const lines = linesOf(figure);
  const [low, high] = [number(svg, "low"), number(svg, "high")];
  const [left, right] = [number(svg, "left"), number(svg, "right")];
  const place = snap(lines, x);
  const values = readings(lines, place, (high - low) / 60);
  if (values.length === 0) return;
  figure.dataset["at"] = String(place);
  const px = left + ((place - low) / (high - low)) * (right - left);
  const hair = document.createElementNS(SVG, "line");
  const ends = { x1: px, x2: px, y1: 0, y2: number(svg, "bottom") };
  for (const [name, value] of Object.entries(ends)) hair.setAttribute(name, String(value));
  hair.setAttribute("class", "hair-line");
  svg.append(hair);
  const scale = svg.clientWidth / svg.viewBox.baseVal.width;
  figure.append(box(values, svg.dataset["kind"] === "time" ? moment(place, high - low) : write(place, false), px * scale, figure));
}

function box(values: Reading[], title: string, px: number, figure: HTMLElement): HTMLElement {
  const readout = document.createElement("div");
  readout.className = "readout";
  readout.setAttribute("role", "status");
  const head = document.createElement("b");
  head.textContent = title;
  readout.append(head);
  for (const value of values) {
    const row = document.createElement("span");
    const name = document.createElement("i");
    name.textContent = value.label;
    name.className = value.color;
    row.append(name, value.text);
    readout.append(row);
  }
  readout.style.top = "24px";
  if (px > figure.clientWidth / 2) readout.style.right = `${figure.clientWidth - px + 12}px`;
  else readout.style.left = `${px + 12}px`;
  return readout;
}

function under(event: PointerEvent): SVGSVGElement | null {
  const target = event.target instanceof Element ? event.target.closest("svg") : null;
  return target instanceof SVGSVGElement && target.dataset["low"] !== undefined ? target : null;
}

document.addEventListener("pointermove", (event) => {
  const svg = under(event);
  for (const figure of document.querySelectorAll<HTMLElement>(".chart:has(.readout)")) {
    if (svg === null || figure !== figureOf(svg)) clear(figure);
  }
  const figure = svg === null ? null : figureOf(svg);
  if (svg === null || figure === null) return;
  const edge = svg.getBoundingClientRect();
  const px = ((event.clientX - edge.left) / edge.width) * svg.viewBox.baseVal.width;
  const share = (px - number(svg, "left")) / (number(svg, "right") - number(svg, "left"));
  if (share < -0.02 || share > 1.02) clear(figure);
  else show(svg, figure, number(svg, "low") + share * (number(svg, "high") - number(svg, "low")));
});

document.addEventListener("keydown", (event) => {
  const figure = event.target instanceof HTMLElement && event.target.matches(".chart") ? event.target : null;
  if (figure === null || (event.key !== "ArrowLeft" && event.key !== "ArrowRight")) return;
  const svg = [...figure.querySelectorAll<SVGSVGElement>("svg[data-low]")].find((each) => each.clientWidth > 0);
  if (svg === undefined) return;
  const xs = [...new Set(linesOf(figure).flatMap((line) => line.xs))].sort((a, b) => a - b);
  const at = figure.dataset["at"];
  const step = event.key === "ArrowLeft" ? -1 : 1;
  const next = at === undefined ? xs.length - 1 : nearest(xs, Number(at)) + step;
  const place = xs[Math.min(Math.max(next, 0), xs.length - 1)];
  if (place !== undefined) show(svg, figure, place);
  event.preventDefault();
});

document.addEventListener("focusout", (event) => {
  if (event.target instanceof HTMLElement && event.target.matches(".chart")) clear(event.target);
});

/** Draws the saved SVG on a canvas at twice its size. */
async function png(url: string, name: string): Promise<void> {
  const text = await (await fetch(url)).text();
  const image = new Image();
  const source = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  image.src = source;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width * 2, image.height * 2];
  const pen = canvas.getContext("2d");
  if (pen === null) return;
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(source);
  const link = document.createElement("a");
  link.href = canvas.toDataURL("image/png");
  link.download = `${name}.png`;
  link.click();
}

document.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest<HTMLElement>("[data-png]") : null;
  if (button !== null) void png(button.dataset["png"] ?? "", button.dataset["name"] ?? "chart");
});
