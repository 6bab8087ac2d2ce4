/** `<filter-box>`: completes the language that runs are filtered by, as one types. */

interface Names {
  metrics: string[];
  params: string[];
  tags: string[];
}

interface Offer {
  text: string; // what is put in
  says: string; // what kind of thing it is
}

const ATTRIBUTES = ["run_name", "status", "start_time", "end_time", "user_id", "experiment", "run_id", "parent", "error"];
const SIGNS = ["=", "!=", ">", ">=", "<", "<=", "LIKE", "ILIKE", "IN", "IS NULL", "IS NOT NULL"];
const STATES = ["'finished'", "'running'", "'failed'", "'killed'", "'scheduled'"];
const SHOWN = 12;
/** A name, quoted where it has to be, up to the end of what was typed. */
const NAME = /(?:(?:metrics?|params?|tags?|attributes?|datasets?)\.(?:"[^"]*"?|`[^`]*`?|[^\s=<>!(),'"`]*)|[A-Za-z_]\w*)$/;
const AFTER_NAME = /(?:^|[\s(])(?:(?:metrics?|params?|tags?|datasets?)\.(?:"[^"]+"|`[^`]+`|[^\s=<>!(),'"`]+)|(?:attributes?\.)?(?:run_name|status|start_time|end_time|user_id|experiment|run_id|parent|error))\s+(?:[A-Za-z ]*|[=<>!]*)$/i;
const AFTER_STATE = /status\s*(?:=|!=)\s*('\w*)?$/i;
const AFTER_VALUE = /(?:'[^']*'|\d|\)|NULL)\s+[A-Za-z]*$/i;

function spelled(entity: string, name: string): string {
  return /^[A-Za-z_][\w./:-]*$/.test(name) ? `${entity}.${name}` : `${entity}."${name.replaceAll('"', '""')}"`;
}

class FilterBox extends HTMLElement {
  private input: HTMLInputElement | null = null;
  private list = document.createElement("ul");
  private offers: Offer[] = [];
  private start = 0; // of what an offer replaces
  private at = -1;
  private names: Names = { metrics: [], params: [], tags: [] };

  connectedCallback(): void {
    this.input = this.querySelector("input");
    if (this.input === null) return;
    this.names = JSON.parse(this.dataset["names"] ?? "{}") as Names;
    this.list.id = "offers";
    this.list.hidden = true;
    this.list.setAttribute("role", "listbox");
    this.list.setAttribute("aria-label", "What may come next");
    this.append(this.list);
    const combo = { role: "combobox", "aria-expanded": "false", "aria-controls": "offers", "aria-autocomplete": "list" };
    for (const [name, value] of Object.entries(combo)) this.input.setAttribute(name, value);
    this.input.addEventListener("input", () => this.offer());
    this.input.addEventListener("focus", () => this.offer());
    this.input.addEventListener("blur", () => this.close());
    this.input.addEventListener("keydown", (event) => this.pressed(event));
    this.list.addEventListener("pointerdown", (event) => {
      const item = event.target instanceof Element ? event.target.closest("li") : null;
      if (item) this.take(Number(item.dataset["i"]));
      event.preventDefault();
    });
  }

  private offer(): void {
    if (this.input === null) return;
    const before = this.input.value.slice(0, this.input.selectionStart ?? 0);
    const [typed, found] = this.what(before);
    this.start = before.length - typed.length;
    const like = typed.toLowerCase();
    const fits = found.filter(({ text }) => text.toLowerCase().includes(like) && text !== typed);
    fits.sort((a, b) => Number(b.text.toLowerCase().startsWith(like)) - Number(a.text.toLowerCase().startsWith(like)));
    this.offers = fits.slice(0, SHOWN);
    this.at = -1;
    this.draw();
  }

  /** What was typed of the word at the cursor, and what that may become. */
  private what(before: string): [string, Offer[]] {
    const state = AFTER_STATE.exec(before);
    if (state !== null) return [state[1] ?? "", offers(STATES, "state")];
    if (inText(before)) return ["", []];
    if (AFTER_VALUE.test(before)) return [/[A-Za-z]*$/.exec(before)?.[0] ?? "", offers(["AND ", "OR "], "and then")];
    if (AFTER_NAME.test(before)) return [/(?:[=<>!]+|(?:IS|IS NOT|IN|LIKE|ILIKE|NOT|[A-Z]+)?)$/i.exec(before)?.[0] ?? "", offers(SIGNS, "compare")];
    const name = NAME.exec(before)?.[0] ?? "";
    if (name === "" && /\S$/.test(before) && !before.endsWith("(")) return ["", []];
    const { metrics, params, tags } = this.names;
    return [name, [
      ...offers(metrics.map((each) => spelled("metrics", each)), "metric"),
      ...offers(params.map((each) => spelled("params", each)), "param"),
      ...offers(tags.map((each) => spelled("tags", each)), "tag"),
      ...offers(ATTRIBUTES, "run"),
    ]];
  }

  private draw(): void {
    this.list.replaceChildren(...this.offers.map(({ text, says }, i) => {
      const item = document.createElement("li");
      const kind = document.createElement("small");
      kind.textContent = says;
      item.append(text, kind);
      item.id = `offer-${i}`;
      item.dataset["i"] = String(i);
      item.setAttribute("role", "option");
      item.setAttribute("aria-selected", String(i === this.at));
      return item;
    }));
    const open = this.offers.length > 0 && document.activeElement === this.input;
    this.list.hidden = !open;
    this.input?.setAttribute("aria-expanded", String(open));
    if (this.at >= 0) this.input?.setAttribute("aria-activedescendant", `offer-${this.at}`);
    else this.input?.removeAttribute("aria-activedescendant");
  }

  private close(): void {
    this.offers = [];
    this.at = -1;
    this.draw();
  }

  private pressed(event: KeyboardEvent): void {
    const count = this.offers.length;
    if (event.key === "Escape" && count > 0) {
      this.close();
      event.stopPropagation();
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && count > 0) {
      this.at = (this.at + (event.key === "ArrowDown" ? 1 : -1) + count + (this.at < 0 && event.key === "ArrowUp" ? 1 : 0)) % count;
      this.draw();
    } else if (event.key === "Enter" && this.at >= 0) this.take(this.at);
    else if (event.key === "Tab" && count > 0 && (this.at >= 0 || this.input?.value !== "")) this.take(Math.max(0, this.at));
    else return;
    event.preventDefault();
  }

  private take(i: number): void {
    const offer = this.offers[i];
    if (this.input === null || offer === undefined) return;
    const end = this.input.selectionStart ?? this.input.value.length;
    const text = offer.text.endsWith(" ") ? offer.text : `${offer.text} `;
    this.input.setRangeText(text, this.start, end, "end");
    this.offer();
  }
}

function offers(texts: string[], says: string): Offer[] {
  return texts.map((text) => ({ text, says }));
}

/** Whether the cursor is within a quoted text, which is the writer's own. */
function inText(before: string): boolean {
  return (before.replace(/"[^"]*"|`[^`]*`/g, "").match(/'/g)?.length ?? 0) % 2 === 1;
}

customElements.define("filter-box", FilterBox);
