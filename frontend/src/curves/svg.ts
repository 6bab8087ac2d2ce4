/** Elements of SVG, and a drawing as a file. */

const SPACE = "http://www.w3.org/2000/svg";

export function draw(name: string, attributes: Record<string, string | number>, text = ""): SVGElement {
  const made = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text) made.textContent = text;
  return made;
}

const KEPT = [
  ...["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin"],
  ...["opacity", "font-size", "font-weight", "font-family", "text-anchor", "paint-order"],
];

/** The drawing with its style written into it, as text. */
function standing(svg: SVGSVGElement): string {
  const copy = svg.cloneNode(true) as SVGSVGElement;
  const originals = svg.querySelectorAll<SVGElement>("*");
  copy.querySelectorAll<SVGElement>("*").forEach((each, i) => {
    const original = originals[i];
    if (original === undefined) return;
    const style = getComputedStyle(original);
    for (const name of KEPT) each.setAttribute(name, style.getPropertyValue(name));
  });
  const ground = getComputedStyle(document.body).getPropertyValue("--paper");
  copy.prepend(draw("rect", { width: "100%", height: "100%", fill: resolved(ground) }));
  copy.setAttribute("xmlns", SPACE);
  return new XMLSerializer().serializeToString(copy);
}

/** A colour of a custom property as an SVG file can say it. */
function resolved(color: string): string {
  const probe = document.createElement("i");
  probe.style.color = color;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function saved(content: Blob | string, name: string): void {
  const blob = typeof content === "string" ? new Blob([content]) : content;
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

async function save(svg: SVGSVGElement, name: string, format: string): Promise<void> {
  const text = standing(svg);
  if (format === "svg") {
    saved(new Blob([text], { type: "image/svg+xml" }), `${name}.svg`);
    return;
  }
  const image = new Image();
  const url = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  image.src = url;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width * 2, image.height * 2];
  canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(url);
  canvas.toBlob((blob) => {
    if (blob !== null) saved(blob, `${name}.png`);
  });
}

/** Buttons that save a drawing, and what else can be done with it. */
export function exports(svg: SVGSVGElement, name: string, more: Record<string, () => void> = {}): HTMLElement {
  const menu = document.createElement("menu");
  menu.className = "export";
  const file = name.replace(/[^\w.-]+/g, "-");
  const acts: Record<string, () => void> = {
    ...more,
    SVG: () => void save(svg, file, "svg"),
    PNG: () => void save(svg, file, "png"),
  };
  for (const [text, act] of Object.entries(acts)) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.setAttribute("aria-label", `${text}: ${name}`);
    button.addEventListener("click", act);
    item.append(button);
    menu.append(item);
  }
  return menu;
}
