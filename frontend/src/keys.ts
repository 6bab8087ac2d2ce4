/** The keyboard: `/` searches, `g` and a letter goes, arrows walk tables, `?` shows it all. */

const help = document.querySelector<HTMLDialogElement>("#keys");
let going = 0;

function typing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches("input, select, textarea, [contenteditable]");
}

function go(letter: string): boolean {
  const link = document.querySelector<HTMLAnchorElement>(`nav a[data-key="${CSS.escape(letter)}"]`);
  link?.click();
  return link !== null;
}

function walk(step: number): boolean {
  const links = [...document.querySelectorAll<HTMLAnchorElement>("main tbody tr > :is(th, td:first-child) > a:first-of-type")];
  const at = links.indexOf(document.activeElement as HTMLAnchorElement);
  if (at < 0) return false;
  links[Math.min(Math.max(at + step, 0), links.length - 1)]?.focus();
  return true;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (typing(event.target)) {
    if (event.key === "Escape") (event.target as HTMLElement).blur();
    return;
  }
  const second = Date.now() - going < 1500;
  going = 0;
  if (second && go(event.key)) event.preventDefault();
  else if (event.key === "g") going = Date.now();
  else if (event.key === "?") help?.showModal();
  else if (event.key === "/") {
    document.querySelector<HTMLInputElement>("#search")?.focus();
    event.preventDefault();
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    if (walk(event.key === "ArrowDown" ? 1 : -1)) event.preventDefault();
  }
});

document.querySelector("[data-help]")?.addEventListener("click", () => help?.showModal());
const menu = document.querySelector<HTMLButtonElement>(".menu-toggle");
menu?.addEventListener("click", () => {
  const open = document.querySelector(".foot")?.classList.toggle("open") ?? false;
  menu.setAttribute("aria-expanded", String(open));
});
