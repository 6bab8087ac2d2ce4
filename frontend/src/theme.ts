/** Light, dark or the system's: kept in a cookie, so that the server writes it into the page. */

const ORDER = ["auto", "light", "dark"] as const;

function current(): string {
  return document.documentElement.dataset["theme"] ?? "auto";
}

for (const button of document.querySelectorAll<HTMLButtonElement>("[data-theme-toggle]")) {
  button.addEventListener("click", () => {
    const next = ORDER[(ORDER.indexOf(current() as "auto") + 1) % ORDER.length] ?? "auto";
    if (next === "auto") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = next;
    document.cookie = `theme=${next}; path=/; max-age=31536000; samesite=strict`;
    button.querySelector("[data-word]")?.replaceChildren(next);
  });
}
