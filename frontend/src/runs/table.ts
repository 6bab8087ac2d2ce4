/** `<runs-table>`: a hundred thousand rows, of which those in sight exist; chosen runs; curves. */

import type { CurveChart } from "../curves/chart";

/** Portions kept; those farthest from sight are dropped. */
const KEPT = 40;
/** Rows made above and below those in sight. */
const AROUND = 12;
/** Chosen runs that the address can hold. */
const ADDRESSED = 50;

interface Chosen {
  id: string;
  name: string;
  started: number;
}

class RunsTable extends HTMLElement {
  private readonly portions = new Map<number, HTMLTableRowElement[]>();
  private readonly asked = new Set<number>();
  private readonly chosen = new Map<string, Chosen>();
  private box: HTMLElement | null = null;
  private body: HTMLTableSectionElement | null = null;
  private above = spacer();
  private below = spacer();
  private size = 0; // px of a row
  private shown = "";
  private drawing = 0;
  private fresh = 0; // grows when rows must be asked for again
  private anchor: HTMLInputElement | null = null;
  private ends = new AbortController();

  connectedCallback(): void {
    this.box = this.querySelector(".scroll");
    this.body = this.querySelector("tbody[data-window]");
    if (this.box === null || this.body === null) return;
    const first = [...this.body.rows];
    this.portions.set(0, first);
    this.size = first[0]?.getBoundingClientRect().height ?? 37;
    const { signal } = this.ends;
    if (this.count > first.length) this.becomeWindow(signal);
    document.querySelector(".further")?.remove();
    for (const each of this.querySelectorAll<HTMLInputElement>("input[name=run]:checked")) this.choose(each);
    this.addEventListener("click", (event) => this.clicked(event), { signal });
    this.addEventListener("change", (event) => this.changed(event), { signal });
    this.addEventListener("keydown", (event) => this.pressed(event), { signal });
    document.addEventListener("setpoint:live", () => this.renew(), { signal });
    this.tell();
  }

  disconnectedCallback(): void {
    this.ends.abort();
  }

  private get count(): number {
    return Number(this.dataset["count"]);
  }

  private get portion(): number {
    return Number(this.dataset["portion"]);
  }

  private becomeWindow(signal: AbortSignal): void {
    this.classList.add("window");
    this.body?.before(this.above);
    this.body?.after(this.below);
    this.box?.addEventListener("scroll", () => this.soon(), { passive: true, signal });
    this.show();
  }

  private soon(): void {
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = 0;
      this.show();
    });
  }

  /** Puts the rows in sight into the table, and asks for those that are not here yet. */
  private show(): void {
    if (this.box === null || this.body === null) return;
    const top = Math.max(0, this.box.scrollTop - this.offset());
    const first = Math.max(0, Math.floor(top / this.size) - AROUND);
    const last = Math.min(this.count, Math.ceil((top + this.box.clientHeight) / this.size) + AROUND);
    const key = `${first} ${last} ${this.fresh} ${[...this.portions.keys()].join()}`;
    if (key === this.shown) return;
    this.shown = key;
    const rows: HTMLTableRowElement[] = [];
    for (let i = first; i < last; i++) rows.push(this.row(i));
    const focused = document.activeElement?.closest("tr");
    if (focused && this.body.contains(focused) && !rows.includes(focused as HTMLTableRowElement)) this.box.focus();
    if (!same(this.body.rows, rows)) this.body.replaceChildren(...rows);
    this.above.height(first * this.size);
    this.below.height(Math.max(0, this.count - last) * this.size);
    this.drop(first);
  }

  /** What stands above the window: the heading is sticky, pinned rows are not. */
  private offset(): number {
    return this.querySelector(".pins")?.getBoundingClientRect().height ?? 0;
  }

  private row(i: number): HTMLTableRowElement {
    const number = Math.floor(i / this.portion);
    const found = this.portions.get(number);
    if (found === undefined) void this.fetch(number);
    return found?.[i % this.portion] ?? waiting(this.size);
  }

  private async fetch(number: number): Promise<void> {
    if (this.asked.has(number)) return;
    this.asked.add(number);
    const { fresh } = this;
    try {
      const answer = await fetch(`${this.dataset["rows"] ?? ""}&at=${number * this.portion}`);
      if (!answer.ok || fresh !== this.fresh) return;
      const made = document.createElement("tbody");
      made.innerHTML = await answer.text();
      const before = this.portions.get(number);
      const rows = [...made.rows];
      rows.forEach((row, i) => {
        const old = before?.[i];
        this.mark(row);
        if (old !== undefined && old.outerHTML === row.outerHTML) rows[i] = old;
      });
      this.portions.set(number, rows);
      this.shown = "";
    } finally {
      this.asked.delete(number);
    }
    this.soon();
  }

  private drop(first: number): void {
    const here = Math.floor(first / this.portion);
    const far = [...this.portions.keys()].sort((a, b) => Math.abs(b - here) - Math.abs(a - here));
    for (const each of far.slice(0, Math.max(0, far.length - KEPT))) this.portions.delete(each);
  }

  /** Asks for the rows in sight again, without taking away what is there. */
  private renew(): void {
    if (this.box === null || document.hidden) return;
    const here = Math.floor(this.box.scrollTop / this.size / this.portion);
    for (const each of this.portions.keys()) if (Math.abs(each - here) > 1) this.portions.delete(each);
    for (const each of [here, here + 1]) if (this.portions.has(each)) void this.fetch(each);
  }

  // -- choosing ---------------------------------------------------------------------------

  private mark(row: HTMLTableRowElement): void {
    const input = row.querySelector<HTMLInputElement>("input[name=run]");
    if (input === null) return;
    input.toggleAttribute("checked", this.chosen.has(input.value));
    this.paint(row);
  }

  private paint(row: HTMLTableRowElement): void {
    const place = [...this.chosen.keys()].indexOf(row.dataset["run"] ?? "");
    const link = row.querySelector("th a");
    if (link !== null && this.chosen.size) link.className = place < 0 ? "" : `series c${place % 8}`;
  }

  private choose(input: HTMLInputElement): void {
    const row = input.closest("tr");
    const name = row?.querySelector("th a")?.textContent ?? input.value;
    const time = row?.querySelector("time")?.dateTime ?? "";
    if (input.checked) this.chosen.set(input.value, { id: input.value, name, started: Date.parse(time) / 1000 });
    else this.chosen.delete(input.value);
  }

  /** With shift, everything between the last row that was ticked and this one. */
  private clicked(event: MouseEvent): void {
    const input = event.target;
    if (!(input instanceof HTMLInputElement) || input.name !== "run") return;
    if (event.shiftKey && this.anchor !== null) {
      const all = [...this.querySelectorAll<HTMLInputElement>("input[name=run]")];
      const [a, b] = [all.indexOf(this.anchor), all.indexOf(input)].sort((x, y) => x - y);
      for (const each of a === undefined || a < 0 ? [] : all.slice(a, (b ?? a) + 1)) {
        each.checked = input.checked;
        this.choose(each);
      }
    }
    this.anchor = input;
  }

  private changed(event: Event): void {
    if (!(event.target instanceof HTMLInputElement) || event.target.name !== "run") return;
    this.choose(event.target);
    this.tell();
    this.draw();
  }

  private pressed(event: KeyboardEvent): void {
    const row = document.activeElement?.closest<HTMLElement>("tr[data-run]");
    if (event.key !== "x" || !row || event.ctrlKey || event.metaKey) return;
    row.querySelector<HTMLInputElement>("input[name=run]")?.click();
    event.preventDefault();
  }

  /** Says how many are chosen, and keeps those out of sight in the form. */
  private tell(): void {
    const form = document.querySelector<HTMLFormElement>("#change");
    form?.querySelector("[data-count]")?.replaceChildren(
      this.chosen.size ? `${this.chosen.size.toLocaleString("en")} chosen` : "none chosen",
    );
    for (const each of this.querySelectorAll<HTMLTableRowElement>("tr[data-run]")) this.paint(each);
    for (const [, rows] of this.portions) for (const row of rows) if (!row.isConnected) this.mark(row);
  }

  private draw(): void {
    const chosen = [...this.chosen.values()];
    const query = new URLSearchParams(location.search);
    query.delete("run");
    for (const { id } of chosen.slice(0, ADDRESSED)) query.append("run", id);
    history.replaceState(history.state, "", `?${query.toString()}`);
    document.querySelectorAll<HTMLInputElement>("[data-current] input[name=query]").forEach((each) => {
      each.value = query.toString();
    });
    const chart = document.querySelector<CurveChart>("main > section > curve-chart");
    if (chart === null || chosen.length === 0) return;
    chart.runs = chosen.slice(0, 100).map((run, i) => ({ ...run, color: `c${i % 8}` }));
    document.querySelector("#curves")?.replaceChildren("Chosen runs");
  }

  /** The chosen runs whose rows are out of sight, for a form that is sent. */
  get unseen(): string[] {
    const seen = new Set([...this.querySelectorAll<HTMLInputElement>("input[name=run]")].map((each) => each.value));
    return [...this.chosen.keys()].filter((id) => !seen.has(id));
  }
}

/** A body of the table that only takes room. */
function spacer(): HTMLTableSectionElement & { height: (px: number) => void } {
  const made = document.createElement("tbody");
  made.setAttribute("aria-hidden", "true");
  const cell = document.createElement("td");
  cell.colSpan = 1000;
  const row = document.createElement("tr");
  row.append(cell);
  made.append(row);
  made.className = "spacer";
  return Object.assign(made, {
    height: (px: number): void => {
      made.hidden = px === 0;
      cell.style.height = `${px}px`;
    },
  });
}

function waiting(size: number): HTMLTableRowElement {
  const row = document.createElement("tr");
  const cell = document.createElement("td");
  cell.colSpan = 1000;
  cell.style.height = `${size}px`;
  row.append(cell);
  return row;
}

function same(now: HTMLCollectionOf<HTMLTableRowElement>, rows: HTMLTableRowElement[]): boolean {
  return now.length === rows.length && rows.every((row, i) => now[i] === row);
}

customElements.define("runs-table", RunsTable);

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || form.id !== "change") return;
  const table = document.querySelector<RunsTable>("runs-table");
  for (const each of form.querySelectorAll("[data-added]")) each.remove();
  for (const id of table?.unseen ?? []) {
    const input = document.createElement("input");
    [input.type, input.name, input.value] = ["hidden", "run", id];
    input.dataset["added"] = "";
    form.append(input);
  }
  const doing = event.submitter instanceof HTMLButtonElement ? event.submitter.value : "";
  const all = new FormData(form).has("all");
  const many = all ? (table?.dataset["count"] ?? "all") : "";
  if (doing === "delete" && all && !confirm(`Delete ${many} runs? They can be restored until they are collected.`)) {
    event.preventDefault();
  }
});

/** Choices that take effect at once, and lists narrowed by what one types. */
document.addEventListener("change", (event) => {
  if (event.target instanceof HTMLSelectElement && event.target.matches("[data-submits]")) event.target.form?.requestSubmit();
});

document.addEventListener("input", (event) => {
  const input = event.target;
  if (!(input instanceof HTMLInputElement) || input.dataset["narrows"] === undefined) return;
  const like = input.value.toLowerCase();
  for (const item of document.querySelectorAll<HTMLElement>(`${input.dataset["narrows"]} > li`)) {
    item.hidden = !(item.textContent ?? "").toLowerCase().includes(like);
  }
});

/** A menu closes when one goes elsewhere. */
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll<HTMLDetailsElement>("details.drop[open]")) {
    if (event.target instanceof Node && !menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll<HTMLDetailsElement>("details.drop[open]")) {
    menu.open = false;
    menu.querySelector("summary")?.focus();
  }
});

/** An empty choice says nothing: it stays out of the address. */
document.addEventListener("formdata", (event) => {
  if (!(event.target instanceof HTMLFormElement) || event.target.id !== "view") return;
  for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
});

/** What cannot be undone is asked about first. */
document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset["confirm"];
  if (question !== undefined && !confirm(question)) event.preventDefault();
});
