/** `<scatter-plot>`: each run as a dot, one of its values against another. */

import { place } from "../curves/scale";
import { draw, exports } from "../curves/svg";
import { plotted, readout, said, short, wayOf, type Way } from "./plotted";

const HEIGHT = 320;
const AREA = { left: 64, top: 24, bottom: HEIGHT - 36 };

class ScatterPlot extends HTMLElement {
  connectedCallback(): void {
    new ResizeObserver(() => this.show()).observe(this);
  }

  private show(): void {
    const { runs, columns } = plotted();
    const [across, up] = [this.dataset["x"] ?? "", this.dataset["y"] ?? ""];
    const [xs, ys] = [columns[across], columns[up]];
    const width = this.clientWidth;
    if (xs === undefined || ys === undefined || width < 40) return;
    const [x, y] = [wayOf(across, xs), wayOf(up, ys)];
    const right = width - 16;
    const svg = draw("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, class: "sp-chart" }) as SVGSVGElement;
    axes(svg, x, y, right);
    let missing = 0;
    runs.forEach((run, i) => {
      const [a, b] = [x.at(xs[i] ?? null), y.at(ys[i] ?? null)];
      if (a === null || b === null) {
        missing += 1;
        return;
      }
      const [cx, cy] = [AREA.left + a * (right - AREA.left), AREA.bottom - b * (AREA.bottom - AREA.top)];
      const link = draw("a", { href: `/runs/${run.id}`, "aria-label": `${run.name}: ${said(xs[i])}, ${said(ys[i])}` });
      const dot = draw("circle", { cx, cy, r: 5, class: `dot ${run.color}` });
      link.append(dot);
      const tell = (): void => {
        this.querySelector(".readout")?.remove();
        const rows: [string, string][] = [[short(up), said(ys[i])], [short(across), said(xs[i])]];
        this.append(readout(run.name, rows, cx, cy, width));
      };
      link.addEventListener("pointerenter", tell);
      link.addEventListener("focus", tell);
      link.addEventListener("pointerleave", () => this.querySelector(".readout")?.remove());
      link.addEventListener("blur", () => this.querySelector(".readout")?.remove());
      if (runs.length <= 12) {
        const [beside, anchor] = cx > right - 140 ? [-9, "end"] : [9, "start"];
        svg.append(draw("text", { x: cx + beside, y: cy + 4, "text-anchor": anchor }, run.name.slice(0, 24)));
      }
      svg.append(link);
    });
    const note = document.createElement("p");
    note.className = "told soft";
    if (missing) note.textContent = `${missing} runs have not both values.`;
    this.replaceChildren(svg, exports(svg, "scatter plot"), note);
  }
}

function axes(svg: SVGSVGElement, x: Way, y: Way, right: number): void {
  for (const mark of y.marks) {
    const at = AREA.bottom - mark.at * (AREA.bottom - AREA.top);
    svg.append(
      draw("line", { x1: AREA.left, x2: right, y1: at, y2: at, class: "grid" }),
      draw("text", { x: AREA.left - 8, y: at + 4, "text-anchor": "end" }, mark.text),
    );
  }
  for (const mark of x.marks) {
    const at = AREA.left + mark.at * (right - AREA.left);
    svg.append(draw("text", { x: at, y: AREA.bottom + 16, "text-anchor": "middle" }, mark.text));
  }
  const zero = y.names === null && !y.scale.log ? place(y.scale, 0) : -1;
  if (zero > 0 && zero < 1) {
    const at = AREA.bottom - zero * (AREA.bottom - AREA.top);
    svg.append(draw("line", { x1: AREA.left, x2: right, y1: at, y2: at, class: "axis" }));
  }
  svg.append(
    draw("line", { x1: AREA.left, x2: right, y1: AREA.bottom, y2: AREA.bottom, class: "axis" }),
    draw("text", { x: 0, y: 12, class: "strong" }, short(y.name)),
    draw("text", { x: right, y: HEIGHT - 4, "text-anchor": "end", class: "strong" }, short(x.name)),
  );
}

customElements.define("scatter-plot", ScatterPlot);
